"""Schedule of the slow poll: every tenant in turn, those with recent work each time, a bounded number per poll."""

from __future__ import annotations

from workers.intake.poll_schedule import OTHERS_AT_ONCE, RECENT_POLLS, PollSchedule

MANY = {f"t{i:04}": None for i in range(5000)}


def test_a_few_tenants_are_all_polled_each_time() -> None:
    """As long as they fit into one poll, no tenant waits for the next."""
    schedule = PollSchedule()
    assert [set(schedule.next(["b", "a", "c"])) for _ in range(3)] == [{"a", "b", "c"}] * 3


def test_of_many_tenants_each_has_its_turn() -> None:
    """No tenant is left out, none is polled twice before all were polled once, and every poll has the same size."""
    schedule = PollSchedule()
    polls = [schedule.next(MANY) for _ in range(len(MANY) // OTHERS_AT_ONCE)]
    assert {len(poll) for poll in polls} == {OTHERS_AT_ONCE}
    assert sorted(t for poll in polls for t in poll) == sorted(MANY)


def test_a_tenant_with_recent_work_is_polled_each_time() -> None:
    """After its last job it is in ``RECENT_POLLS`` polls, unless it is removed from the configuration."""
    configured = dict(MANY)
    schedule = PollSchedule()
    schedule.had_work("t4999")
    assert all("t4999" in schedule.next(configured) for _ in range(RECENT_POLLS))
    assert sum("t4999" in schedule.next(configured) for _ in range(10)) < 3
    schedule.had_work("t0001")
    del configured["t0001"]
    assert not any("t0001" in schedule.next(configured) for _ in range(RECENT_POLLS))


def test_without_tenants_a_poll_is_empty() -> None:
    """A worker may have no tenants yet."""
    assert PollSchedule().next([]) == []
