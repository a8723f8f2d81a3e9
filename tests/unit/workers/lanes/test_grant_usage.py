"""Digests under grants: never more than the cap, and a job that is tried again asks for nothing new."""

from __future__ import annotations

import pytest

from queueing.errors import GrantExhausted, LimitRate
from queueing.protocol.envelope import read_unverified
from tests.support.fakes.grants import NOW_MS, grant, sealed_under
from workers.lanes.grant_usage import KEPT_MS, GrantUsage, name_of


def content(number: int) -> bytes:
    return number.to_bytes(16, "big")


def test_the_cap_is_reached_and_never_exceeded() -> None:
    """With the last digest; one more is refused, and what is refused is not counted."""
    usage, small = GrantUsage(), grant(max_digests=10)
    for number in range(3):
        assert usage.check(small, content(number), 3)
        usage.count(small, content(number), 3)
    with pytest.raises(GrantExhausted, match="9 of the grant's 10 digests are signed; this job asks for 2"):
        usage.check(small, content(9), 2)
    assert usage.check(small, content(9), 1)
    usage.count(small, content(9), 1)
    with pytest.raises(GrantExhausted):
        usage.check(small, content(10), 1)


def test_the_same_content_is_counted_once() -> None:
    """Even when the grant is used up: the job has been permitted before."""
    usage, small = GrantUsage(), grant(max_digests=3)
    assert usage.count(small, content(1), 3)
    assert not usage.check(small, content(1), 3)
    assert not usage.count(small, content(1), 3)
    assert usage.digests(name_of(small)) == 3


def test_a_lane_counts_an_envelope_once_for_all_its_slices() -> None:
    """And the same digests under other dates; other digests anew."""
    usage, small = GrantUsage(), grant(max_digests=4)
    envelope = read_unverified(sealed_under()).envelope
    redated = read_unverified(sealed_under(expires_at_ms=NOW_MS + 1, idempotency_key=b"i" * 16)).envelope
    for each in (envelope, envelope, redated):
        usage.charge(small, each, NOW_MS)
    assert usage.digests(name_of(small)) == 2
    usage.charge(small, read_unverified(sealed_under(digests=(b"\x07" * 32,) * 2)).envelope, NOW_MS)
    with pytest.raises(GrantExhausted):
        usage.charge(small, read_unverified(sealed_under(digests=(b"\x08" * 32,))).envelope, NOW_MS)


def test_jobs_under_way_make_others_wait() -> None:
    """They may yet be refused, and so use up nothing: that is no final answer."""
    usage, small = GrantUsage(), grant(max_digests=10)
    assert usage.check(small, content(1), 5, reserved=5)
    with pytest.raises(LimitRate) as caught:
        usage.check(small, content(1), 5, reserved=6)
    assert caught.value.retry_after_s


def test_digests_of_other_hosts_count() -> None:
    """As far as they are known."""
    usage, small = GrantUsage(), grant(max_digests=10)
    usage.count(small, content(1), 1)
    usage.set_elsewhere(name_of(small), 8)
    assert usage.check(small, content(2), 1)
    with pytest.raises(GrantExhausted):
        usage.check(small, content(2), 2)
    usage.set_elsewhere(name_of(small), -5)
    assert usage.check(small, content(2), 9)


def test_grants_of_two_issuers_and_tenants_are_counted_apart() -> None:
    """Ids are the issuers': another issuer may choose the same."""
    usage = GrantUsage()
    usage.count(grant(max_digests=5), content(1), 5)
    assert usage.check(grant(max_digests=5, issuer="di"), content(1), 5)
    assert usage.check(grant(max_digests=5, tenant="globex"), content(1), 5)


def test_a_count_outlives_its_grant_by_minutes() -> None:
    """A lane with another clock may still take the grant."""
    usage, one = GrantUsage(), grant()
    usage.count(one, content(1), 5)
    usage.forget_expired(one.expires_ms + KEPT_MS - 1)
    assert len(usage) == 1
    usage.forget_expired(one.expires_ms + KEPT_MS)
    assert len(usage) == 0


def test_the_memory_is_bounded_and_errs_on_the_side_of_signing_less() -> None:
    """Contents that are forgotten are counted again; a grant too many waits."""
    usage, one = GrantUsage(most_grants=1, most_contents=2), grant()
    for number in range(3):
        usage.count(one, content(number), 1)
    assert usage.check(one, content(0), 1)
    assert usage.digests(name_of(one)) == 3
    with pytest.raises(LimitRate, match="too many grants"):
        usage.check(grant(grant_id=b"o" * 16), content(0), 1)
