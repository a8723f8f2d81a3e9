"""Every kind of key, every size of envelope, verify-after-sign on and off."""

from __future__ import annotations

from typing import Final

from bench.scenarios.throughput import Case, measure
from bench.session import Pace, Session
from queueing.protocol.algorithms import KeyKind

KINDS: Final = (
    KeyKind.RSA_2048,
    KeyKind.RSA_3072,
    KeyKind.RSA_4096,
    KeyKind.P256,
    KeyKind.P384,
    KeyKind.ED25519,
)
SIZES: Final = (1, 16, 64, 256, 1024)
PACE: Final = Pace(name="matrix", rounds=3, seconds=1.5, ceiling_seconds=0.4, wide=False)


def matrix(session: Session) -> None:
    """Twelve groups of five rows, each group in alternating rounds with its ceiling."""
    for kind in KINDS:
        for verify in (False, True):
            measure(session, [Case(kind=kind, size=size, verify=verify) for size in SIZES], pace=PACE)
