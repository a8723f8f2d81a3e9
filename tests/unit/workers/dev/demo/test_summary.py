"""Totals of the summary are the sums of its tenants."""

from __future__ import annotations

from collections import Counter

from queueing.protocol.algorithms import Algorithm
from workers.dev.demo.summary import Tally, summary


def test_an_unverified_signature_counts_as_failed() -> None:
    """Beside the digests that were refused."""
    tally = Tally(tenant="a", algorithm=Algorithm.ED25519, digests=5, signed=4, verified=3, elapsed_s=2.0)
    tally.failures["hsm.fault"] += 1

    assert (tally.failed, tally.done) == (2, 5)


def test_the_summary_is_the_sum_of_its_tenants() -> None:
    """The total time is that of the slowest tenant, and the rate is over that time."""
    fast = Tally(tenant="a", algorithm=Algorithm.ED25519, digests=10, signed=10, verified=10, elapsed_s=1.0)
    slow = Tally(
        tenant="b", algorithm=Algorithm.ECDSA_SHA_256, digests=10, signed=8, verified=8, elapsed_s=4.0,
        failures=Counter({"job.expired": 2}),
    )  # fmt: skip

    whole = summary([fast, slow])

    assert (whole["signed"], whole["verified"], whole["failed"]) == (18, 18, 2)
    assert (whole["elapsed_s"], whole["signatures_per_s"]) == (4.0, 4.5)
    assert whole["failures"] == {"job.expired": 2}
    assert whole["tenants"]["a"]["signatures_per_s"] == 10.0
    assert whole["algorithms"]["ECDSA_SHA_256"]["failed"] == 2


def test_nothing_signed_is_no_division_by_zero() -> None:
    """A run without any time has a rate of 0."""
    assert summary([Tally(tenant="a", algorithm=Algorithm.ED25519, digests=1)])["signatures_per_s"] == 0.0
