"""Rate limits by a history: every window of signed digests is within burst + rate * time, and by no less than a digest."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest
from msgspec.structs import replace

from tests.faults.checker.ledger import Ledger
from tests.faults.checker.limits import exceeded
from tests.faults.history import Claimed, Event, HsmSign, Invoked, Limits, TenantKey

KEY = TenantKey(at=0, tenant="acme", token="acme", spki=b"")


def limit(began_at: float, at: float, rate: float, burst: float, cost: float = 1.0) -> Limits:
    return Limits(at=at, tenant="acme", began_at=began_at, rate_per_s=rate, burst=burst, cost=cost)


def job(at: float, digests: int, *, lag_s: float = 0.1, twice: bool = False) -> list[Event]:
    """A job claimed at this time, whose digests are signed a moment later."""
    name = f"{{acme}}{at}-{digests}"
    signs = [
        HsmSign(at=at + lag_s, token="acme", pid=1, tail=digest[-8:], rv=0, head=b"")
        for digest in tails(name, digests)
        for _ in range(1 + twice)
    ]
    return [
        Invoked(
            at=at - 0.01,
            client="c",
            tenant="acme",
            job=name,
            algorithm="ED25519",
            digests=tuple(tails(name, digests)),
        ),
        Claimed(at=at + 0.001, worker="w", tenant="acme", job=name, fence=1, from_s=at, until_s=at + 2),
        *signs,
    ]


def tails(name: str, digests: int) -> list[bytes]:
    rng = Random(name)
    return [rng.randbytes(32) for _ in range(digests)]


def over(*events: Event | Sequence[Event]) -> int:
    """Number of claims beyond the limit."""
    flat: list[Event] = [KEY]
    for event in events:
        flat += [event] if isinstance(event, Event) else event
    return len(list(exceeded(Ledger(flat))))


IN_FORCE = limit(0.0, 0.1, rate=10, burst=5)


def test_a_burst_and_the_rate_are_granted_and_no_digest_more() -> None:
    """Five at once; half a second later five again, and the sixth is one too many."""
    assert over(IN_FORCE, job(1, 5), job(1.5, 5)) == 0
    assert over(IN_FORCE, job(1, 5), job(1.5, 5), job(1.51, 1)) == 1
    assert over(IN_FORCE, job(1, 5), job(1.05, 1)) == 1
    assert over(IN_FORCE, job(1, 5), job(1.1, 1)) == 0


def test_the_time_of_the_claim_counts_and_not_that_of_its_operations() -> None:
    """Claims of two seconds that are signed in one moment are within the limit; so is a digest that a claim had signed again."""
    assert over(IN_FORCE, job(1, 5, lag_s=1.0), job(1.5, 5, lag_s=0.5), job(2.0, 5, lag_s=0.0)) == 0
    assert over(IN_FORCE, job(1, 5, twice=True), job(1.5, 5, twice=True)) == 0


def test_a_history_in_milliseconds_may_be_a_millisecond_off() -> None:
    """The checker allows no other slack."""
    assert over(IN_FORCE, job(1, 5), job(1.4995, 5)) == 0
    assert over(IN_FORCE, job(1, 5), job(1.498, 5)) == 1


def test_a_job_larger_than_the_burst_needs_an_untouched_one_and_leaves_it_overdrawn() -> None:
    """As the script has it; afterwards nothing is granted until that is made up for."""
    assert over(IN_FORCE, job(1, 20), job(3.0, 5)) == 0
    assert over(IN_FORCE, job(1, 20), job(2.0, 5)) == 1
    assert over(IN_FORCE, job(1, 1), job(1.01, 20)) == 1


def test_a_digest_costs_what_its_key_costs() -> None:
    """Rate and burst are in units."""
    dear = limit(0.0, 0.1, rate=10, burst=5, cost=5.0)
    assert over(dear, job(1, 1), job(1.5, 1)) == 0
    assert over(dear, job(1, 1), job(1.4, 1)) == 1


def test_while_limits_change_the_wider_one_counts() -> None:
    """From the edit until every worker has it."""
    wider = limit(2.0, 3.0, rate=100, burst=50)
    assert over(IN_FORCE, wider, job(1.9, 50)) == 0  # an untouched burst
    assert over(IN_FORCE, wider, job(1.85, 1), job(1.9, 50)) == 1
    assert over(IN_FORCE, wider, job(2.4, 1), job(2.5, 49)) == 0
    narrower = limit(2.0, 3.0, rate=1, burst=1)
    assert over(IN_FORCE, narrower, job(2.4, 5), job(2.9, 5)) == 0
    assert over(IN_FORCE, narrower, job(3.4, 1), job(3.9, 1)) == 1


@pytest.mark.parametrize("at", [0.05, 2.5, 4.0])
def test_without_a_limit_nothing_is_too_much(at: float) -> None:
    """Before the first, while one is lifted, and afterwards."""
    lifted = limit(2.0, 3.0, rate=0, burst=0)
    assert over(IN_FORCE, lifted, job(at, 500), job(at + 0.01, 500)) == 0


def test_another_tenants_digests_are_not_counted() -> None:
    """Each has a bucket of its own."""
    other = TenantKey(at=0, tenant="globex", token="globex", spki=b"")
    theirs = [
        replace(event, **{field: "globex" for field in ("tenant", "token") if hasattr(event, field)})
        for event in job(1.01, 5)
    ]
    assert over(IN_FORCE, other, job(1, 5), theirs) == 0
