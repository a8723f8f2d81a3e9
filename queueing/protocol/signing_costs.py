"""Cost of a signature in units: 1 is one RSA-2048 signature. Rate limits and fair shares are counted in them.

The numbers in ``algorithms.KEY_KINDS`` are ratios of signing times, rounded, and nothing more precise is claimed. RSA with CRT grows with the
cube of the modulus (3.4 and 8; a network HSM's data sheet shows 3 to 4 and 6 to 10). On curves SoftHSM over
OpenSSL takes 75 to 105 us against 700 for RSA-2048 with P-256; P-384 and P-521 have no
special code in most modules and cost about as much as RSA-2048; Ed25519 lies between them and P-256.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from queueing.protocol.algorithms import FACTS, KEY_KINDS, KeyKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

COST_OF: Final[dict[KeyKind, float]] = {kind: facts.cost for kind, facts in KEY_KINDS.items()}

DEAREST: Final = max(COST_OF.values())
"""Cost of a digest whose algorithm is unknown."""


def costs_by_algorithm(kinds: Iterable[KeyKind]) -> dict[str, float]:
    """Highest cost of a digest by algorithm, for a tenant that has keys of these kinds.

    An algorithm's name does not tell the size of an RSA key: the dearest that the tenant has counts.
    """
    costs: dict[str, float] = {}
    for kind in kinds:
        for algorithm, facts in FACTS.items():
            if kind in facts.key_kinds:
                costs[str(algorithm)] = max(costs.get(str(algorithm), 0.0), COST_OF[kind])
    return costs


def cost_where_unnamed(costs: Mapping[str, float]) -> float:
    """Highest cost of a digest where the job names none of these algorithms."""
    return max(costs.values(), default=DEAREST)
