"""Crash attribution: to a job, or to its token."""

from __future__ import annotations

from tests.support.fakes.fake_lane import FakeJob
from workers.lanes.supervisor.batching import Group, Slice
from workers.lanes.supervisor.crash_blame import CRASHES_IN_A_ROW, MOST_JOBS, JobCrashHistory, TokenBlame


def crashed(times: int) -> TokenBlame:
    blame = TokenBlame()
    for _ in range(times):
        blame.record_crash()
    return blame


def test_so_many_crashes_in_a_row_are_blamed_on_the_token() -> None:
    """One crash fewer is not."""
    assert not crashed(CRASHES_IN_A_ROW - 1).too_many_crashes
    assert crashed(CRASHES_IN_A_ROW).too_many_crashes


def test_a_signature_in_between_clears_the_token() -> None:
    """A signature ends the row: the next crash is the first one."""
    blame = crashed(CRASHES_IN_A_ROW - 1)
    blame.record_signature()
    blame.record_crash()
    assert not blame.too_many_crashes


def test_after_a_pause_the_token_has_one_chance_until_it_signs() -> None:
    """The first crash after a pause opens the circuit breaker again; after a signature as many are needed as ever."""
    blame = crashed(CRASHES_IN_A_ROW)
    blame.circuit_opened()
    states = [blame.too_many_crashes]
    blame.record_crash()
    states.append(blame.too_many_crashes)
    blame.record_signature()
    blame.record_crash()
    states.append(blame.too_many_crashes)
    assert states == [False, True, False]


def test_one_job_may_be_blamed_until_the_token_signs() -> None:
    """Blaming a job clears the token of the crashes so far; a second job may be blamed after a signature only."""
    blame = crashed(3)
    may_blame = [blame.may_blame_job]
    blame.blame_job()
    assert not blame.too_many_crashes
    may_blame.append(blame.may_blame_job)
    blame.circuit_opened()
    may_blame.append(blame.may_blame_job)
    blame.record_signature()
    may_blame.append(blame.may_blame_job)
    assert may_blame == [True, False, False, True]


def test_asking_whether_a_job_may_be_blamed_changes_nothing() -> None:
    """Only ``blame_job`` uses up the one blame, and clears the token."""
    blame = crashed(CRASHES_IN_A_ROW)
    assert [blame.may_blame_job, blame.may_blame_job] == [True, True]
    assert blame.too_many_crashes


def slice_of(name: str) -> Slice:
    return Slice(FakeJob(name), Group("release", 1, "ECDSA_SHA_256"), 0, 1)


def test_the_history_of_a_job_is_applied_to_its_next_slice_which_runs_alone() -> None:
    """A job that was requeued does not start with no crashes at its next claim; another job's slice is unchanged."""
    history = JobCrashHistory()
    bad, other = slice_of("bad"), slice_of("other")
    bad.crashes, bad.faults = ("signal_11",), 1
    history.record(bad)
    again = slice_of("bad")
    for slice_ in (again, other):
        history.apply_to(slice_)
    assert (again.crashes, again.faults, again.alone) == (("signal_11",), 1, True)
    assert (other.crashes, other.faults, other.alone) == ((), 0, False)


def test_a_job_that_has_its_outcome_is_forgotten() -> None:
    """With the last job the history is empty."""
    history = JobCrashHistory()
    history.record(slice_of("bad"))
    assert history
    history.forget(b"bad")
    assert not history


def test_the_history_is_bounded_and_forgets_the_oldest_job() -> None:
    """A job that is recorded again counts as new."""
    history = JobCrashHistory()
    for name in ("first", "second", "first", *(f"job-{i}" for i in range(MOST_JOBS - 1))):
        suspect = slice_of(name)
        suspect.faults = 1
        history.record(suspect)
    found = []
    for name in ("first", "second"):
        again = slice_of(name)
        history.apply_to(again)
        found.append(again.alone)
    assert found == [True, False]
