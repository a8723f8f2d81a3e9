"""Digests under grants: never more than the cap, and a job that is tried again asks for nothing new."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from queueing.errors import GrantExhausted, LimitRate
from queueing.protocol.envelope import read_unverified
from queueing.protocol.grants.grant import seal_grant
from tests.support.fakes.grants import ISSUER, NOW_MS, grant, sealed_under
from workers.lanes.grant_usage import KEPT_MS, GrantUsage, name_of

if TYPE_CHECKING:
    from queueing.protocol.grants.grant import Grant


def content(number: int) -> bytes:
    return number.to_bytes(16, "big")


def test_the_cap_is_reached_and_never_exceeded() -> None:
    """The last digest is permitted and one more is not; what is refused is not counted."""
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
    """It is permitted even when the grant is used up, since it was permitted before."""
    usage, small = GrantUsage(), grant(max_digests=3)
    assert usage.count(small, content(1), 3)
    assert not usage.check(small, content(1), 3)
    assert not usage.count(small, content(1), 3)
    assert usage.digests(name_of(small)) == 3


def test_a_lane_counts_an_envelope_once_for_all_its_slices() -> None:
    """The same digests under other dates are counted once, other digests again."""
    usage, small = GrantUsage(), grant(max_digests=4)
    envelope = read_unverified(sealed_under())
    redated = read_unverified(sealed_under(expires_at_ms=NOW_MS + 1, idempotency_key=b"i" * 16))
    for each in (envelope, envelope, redated):
        usage.charge(small, each, NOW_MS)
    assert usage.digests(name_of(small)) == 2
    usage.charge(small, read_unverified(sealed_under(digests=(b"\x07" * 32,) * 2)), NOW_MS)
    with pytest.raises(GrantExhausted):
        usage.charge(small, read_unverified(sealed_under(digests=(b"\x08" * 32,))), NOW_MS)


@pytest.mark.parametrize(
    "change",
    [
        {"key": "nightly"},
        {"key_version": 1},
        {"algorithm": "ECDSA_SHA_384"},
        {"digests": (b"\x09" * 32, b"\x01" * 32)},
        {"digests": (bytes(32), b"\x01" * 31 + b"\x09")},
        {"digests": (bytes(31), b"\x01" * 33)},
    ],
    ids=["key", "version", "algorithm", "first digest", "last digest", "cut"],
)
def test_a_lane_counts_each_other_content(change: dict[str, Any]) -> None:
    """Contents differ by any part: key, version, algorithm, or a digest at either end."""
    usage = GrantUsage()
    for each in (sealed_under(), sealed_under(**change)):
        usage.charge(grant(), read_unverified(each), NOW_MS)
    assert usage.digests(name_of(grant())) == 4


@pytest.mark.parametrize("letters", [1, 30])
def test_dates_are_no_part_of_a_content_whatever_the_lengths_of_names(letters: int) -> None:
    """With names of any length, the part of the body that a lane skips ends within the grant."""
    usage, name, key, algorithm = GrantUsage(), "c" * letters, "k" * letters, "A" * (2 * letters)
    names: dict[str, Any] = {"audience": name * 4, "tenant": name}
    given = grant(**names, issuer=name, subject="s", keys=(key,), algorithms=(algorithm,), max_digests=2)
    dates: dict[str, Any]
    for dates in ({}, {"expires_at_ms": NOW_MS + 1, "idempotency_key": b"i" * 16}):
        fields = {**names, "client": given.client, "key": key, "algorithm": algorithm, **dates}
        usage.charge(given, read_unverified(sealed_under(seal_grant(given, ISSUER), **fields)), NOW_MS)
    assert usage.digests(name_of(given)) == 2


def test_jobs_under_way_make_others_wait() -> None:
    """The refusal is not final: jobs under way may be refused, and use up nothing then."""
    usage, small = GrantUsage(), grant(max_digests=10)
    assert usage.check(small, content(1), 5, reserved=5)
    with pytest.raises(LimitRate) as caught:
        usage.check(small, content(1), 5, reserved=6)
    assert caught.value.retry_after_s


def test_digests_of_other_hosts_count() -> None:
    """A number below zero counts as none."""
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


def test_the_grants_of_one_tenant_leave_room_for_those_of_another() -> None:
    """A build may get a grant for each of its digests: its tenant waits then, and no other one. What has ended is room again."""
    usage = GrantUsage(most_grants=8)
    own = [grant(grant_id=content(number), subject=f"repo:acme/{number}") for number in range(8)]
    for each in own[:6]:
        assert usage.check(each, content(1), 1)
        usage.count(each, content(1), 1)
    with pytest.raises(LimitRate):
        usage.check(own[6], content(1), 1)
    assert usage.check(own[0], content(2), 1), "of one that is known"
    neighbour = grant(tenant="globex")
    assert usage.check(neighbour, content(1), 1)
    usage.count(neighbour, content(1), 1)
    usage.forget_expired(own[0].expires_ms + KEPT_MS)
    assert usage.check(own[6], content(1), 1)


def test_the_grants_of_one_subject_leave_room_for_those_of_another_of_its_tenant() -> None:
    """Three quarters of its tenant's room. Another tenant has its own; what has ended is room again."""
    usage, own = GrantUsage(most_grants=64), [grant(grant_id=content(number)) for number in range(64)]

    def takes(each: Grant) -> bool:
        with contextlib.suppress(LimitRate):
            return usage.check(each, content(1), 1) and usage.count(each, content(1), 1)
        return False

    taken = [each for each in own if takes(each)]
    assert taken == own[:36], "three quarters of 48"
    usage.set_elsewhere(name_of(own[40]), 7, own[40])
    assert len(usage) == 36, "neither by what other hosts have signed"
    others = [grant(grant_id=content(100 + number), subject="repo:acme/quiet") for number in range(64)]
    assert [takes(each) for each in others].count(True) == 9, (
        "three quarters of the 12 that are left to the tenant"
    )
    assert takes(grant(issuer="di")), "the same words of another issuer are another subject"
    assert takes(grant(tenant="globex", subject=own[0].subject))
    usage.forget_expired(own[0].expires_ms + KEPT_MS)
    assert not len(usage)
    assert takes(own[63])


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


def used_by(usage: GrantUsage, contents: int, **of: Any) -> Grant:
    """A grant of this tenant or subject under which so many contents were counted."""
    made = grant(max_digests=1_000, **of)
    for number in range(contents):
        usage.count(made, content(number), 1)
    return made


def test_many_jobs_of_one_build_make_no_retry_of_another_count_twice() -> None:
    """Those are forgotten of the tenant that has most, and in it of the subject that has most; the caps hold for all."""
    usage = GrantUsage(most_contents=64)
    first = used_by(usage, 10, tenant="globex", subject="repo:globex/app")
    quiet = used_by(usage, 4, subject="repo:acme/quiet")
    busy = [used_by(usage, 10, subject="repo:acme/busy", grant_id=content(number)) for number in range(1, 7)]
    assert not usage.check(first, content(0), 1), "another tenant's"
    assert not usage.check(quiet, content(0), 1), "another subject's"
    assert usage.check(busy[0], content(0), 1), "the oldest grant's of the busy one"
    assert not usage.check(busy[-1], content(9), 1), "and not the newest one's"
    assert [usage.digests(name_of(each)) for each in (first, quiet, *busy)] == [10, 4, *[10] * 6]


def test_so_much_is_forgotten_that_it_is_seldom_done() -> None:
    """An eighth at least: all grants are looked at for it."""
    usage = GrantUsage(most_contents=64)
    made = [used_by(usage, 1, grant_id=content(number)) for number in range(65)]
    forgotten = [each for each in made if usage.check(each, content(0), 1)]
    assert forgotten == made[:9]
