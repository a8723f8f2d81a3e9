"""Schedule of a seed: drawn before anything runs, so that the same seed has the same faults."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from tests.faults.harness.tokens import TENANTS

WORKERS = 2

RETRYABLE_CODES = (0x5, 0x6, 0x30, 0x50, 0x91, 0xB0, 0xB3, 0x200, 0x80000001)
"""General error, function failed, device error, canceled, not initialized, session closed and invalid, rejected, a vendor's."""

LANE_CODES = (0x2, 0x60, 0x82, 0x101, 0x1A1)
"""Host memory, key handle, object handle, not logged in, mutex: the process is in doubt."""

SCARCE_CODES = (0x31, 0xB1, 0x201)
"""Device memory, session count, token resources: try again later."""

TOKEN_CODES = (0x32, 0xE0, 0xE1, 0x190)
"""Device removed, token not present, not recognised, not initialised."""

FINAL_CODES = (0x20, 0x21, 0x68, 0x70)
"""Data invalid, data length, key may not, mechanism: the request is refused for good."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """Random draw for one injection; each kind uses the values that it needs."""

    worker: int
    tenant: str
    hold_s: float
    nth: int
    retryable: int
    lane: int
    scarce: int
    token: int
    final: int

    @classmethod
    def of(cls, rng: Random, workers: int) -> Draw:
        return cls(
            worker=rng.randint(1, workers),
            tenant=rng.choice(sorted(TENANTS)),
            hold_s=round(rng.uniform(0.2, 1.2), 2),
            nth=rng.randint(1, 12),
            retryable=rng.choice(RETRYABLE_CODES),
            lane=rng.choice(LANE_CODES),
            scarce=rng.choice(SCARCE_CODES),
            token=rng.choice(TOKEN_CODES),
            final=rng.choice(FINAL_CODES),
        )


@dataclass(frozen=True, slots=True)
class Step:
    """One kind of fault, or two at once."""

    kinds: tuple[str, ...]
    draws: tuple[Draw, ...]

    def __str__(self) -> str:
        return " + ".join(
            f"{kind}(worker {d.worker}, {d.tenant}, {d.hold_s} s)"
            for kind, d in zip(self.kinds, self.draws, strict=True)
        )


NOT_TOGETHER = {
    # Two faults at once that no accept level covers: the primary and the worker that has the only other copy (ADR 0018).
    "cluster": {"worker"},
    "sentinel": {"worker"},
    # The observer of these faults asks the worker itself, which the other fault would take away.
    "log": {"worker"},
    "metrics": {"worker"},
    # What the fault is judged by has to be there: the owner's lane that holds the token; the moment from which limits are in force.
    "token": {"worker", "lane", "hsm", "clock"},
    "limits": {"worker", "redis", "cluster", "sentinel"},
}
"""Parts whose faults do not come at once with those of these other parts."""


def schedule(
    seed: int,
    kinds: Sequence[str],
    *,
    steps: int,
    workers: int = WORKERS,
    pairs: float = 0.2,
    own: Sequence[str] = (),
) -> list[Step]:
    """The steps of a seed. Over any few seeds every kind has its turn: each begins where chance says in a shuffled
    deck of all kinds. ``pairs``: the share of steps with two faults at once, of different parts of the stack: one that
    is away cannot be done anything else to. ``own``: kinds of which every other step has one.
    """
    rng = Random(seed)
    deck, own_deck = sorted(set(kinds) - set(own)), sorted(own)
    rng.shuffle(deck)
    rng.shuffle(own_deck)
    made = []
    for i in range(steps):
        from_deck = own_deck if own and i % 2 == 0 else deck
        together = [from_deck[i // (2 if own else 1) % len(from_deck)]]
        companions = [kind for kind in deck if _go_together(kind, together[0])]
        if companions and rng.random() < pairs:
            together.append(rng.choice(companions))
        made.append(Step(tuple(together), tuple(Draw.of(rng, workers) for _ in together)))
    return made


def part_of(kind: str) -> str:
    """The part of the stack that it is done to."""
    return kind.partition(".")[0]


def _go_together(kind: str, other: str) -> bool:
    one, two = part_of(kind), part_of(other)
    return one != two and two not in NOT_TOGETHER.get(one, ()) and one not in NOT_TOGETHER.get(two, ())
