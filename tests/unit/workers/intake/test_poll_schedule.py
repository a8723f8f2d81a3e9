"""Which tenants are looked at without a bell: all in the end, those with work each time, few at once."""

from __future__ import annotations

from workers.intake.poll_schedule import LATELY_LOOKS, OTHERS_AT_ONCE, PollSchedule

MANY = {f"t{i:04}": None for i in range(5000)}


def test_a_few_tenants_are_all_looked_at_each_time() -> None:
    """As long as they fit, nothing is put off."""
    poll = PollSchedule(lambda: ["b", "a", "c"])
    assert [set(poll.next()) for _ in range(3)] == [{"a", "b", "c"}] * 3


def test_of_many_each_has_its_turn() -> None:
    """None is left out, none comes twice before all came once, and no look is long."""
    poll = PollSchedule(lambda: MANY)
    looks = [poll.next() for _ in range(len(MANY) // OTHERS_AT_ONCE)]
    assert {len(look) for look in looks} == {OTHERS_AT_ONCE}
    assert sorted(t for look in looks for t in look) == sorted(MANY)


def test_who_had_work_lately_is_looked_at_each_time() -> None:
    """Until it had none for a while; one that is not configured any more is forgotten."""
    present = dict(MANY)
    poll = PollSchedule(lambda: present)
    poll.had_work("t4999")
    assert all("t4999" in poll.next() for _ in range(LATELY_LOOKS))
    assert sum("t4999" in poll.next() for _ in range(10)) < 3
    poll.had_work("t0001")
    del present["t0001"]
    assert not any("t0001" in poll.next() for _ in range(LATELY_LOOKS))


def test_nobody_is_nobody() -> None:
    """Without tenants there is nothing to look at."""
    assert PollSchedule(dict).next() == []
