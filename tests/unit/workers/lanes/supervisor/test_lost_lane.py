"""Lost lane: the cause of its end, the job or token that is blamed, and what follows for its chunks."""

from __future__ import annotations

import pytest

from tests.support.fakes.fake_lane import FakeJob
from workers.hsm.faults import Action
from workers.lanes.exit_codes import LaneExit
from workers.lanes.protocol import OPEN_CIRCUIT, LaneFailure
from workers.lanes.supervisor.batching import Group, Slice
from workers.lanes.supervisor.connection import ChunkSent
from workers.lanes.supervisor.lost_lane import (
    CRASHES_IN_A_ROW,
    INVALID_ANSWER,
    MOST_FAULTS,
    MOST_JOBS,
    Cause,
    ExitReason,
    JobCrashHistory,
    LostChunks,
    TokenAfter,
    TokenBlame,
    classify_exit,
)

CRASH = ExitReason(Cause.CRASH, "signal_11")
FAULT = ExitReason(Cause.FAULT, "silent")


def cause(
    code: int | None,
    *,
    action: Action | None = None,
    pin: bool = False,
    asked: bool = False,
    silent: bool = False,
    ready: bool = True,
) -> Cause:
    failure = None if action is None else LaneFailure("CKR_X", action.value, pin)
    return classify_exit(
        code=code, failure=failure, asked=asked, killed_as="silent" if silent else "", ready=ready
    ).cause


def test_the_word_for_an_open_circuit_is_the_lanes_own() -> None:
    """The constant is a copy, so that the worker imports no PKCS#11."""
    assert Action.OPEN_CIRCUIT.value == OPEN_CIRCUIT


@pytest.mark.parametrize(
    "code, expected",
    [
        (-11, Cause.CRASH),
        (-9, Cause.CRASH),
        (5, Cause.CRASH),
        (1, Cause.CRASH),
        (0, Cause.CRASH),
        (None, Cause.CRASH),
        (LaneExit.REPLACE, Cause.FAULT),
        (LaneExit.CIRCUIT, Cause.TOKEN),
        (LaneExit.CONFIG, Cause.TOKEN),
        (LaneExit.PIN, Cause.PIN),
    ],
)
def test_without_a_reported_failure_the_exit_decides(code: int | None, expected: Cause) -> None:
    """Signals and exit codes that are not a lane's are crashes; those of a lane have a cause each."""
    assert cause(code) is expected


@pytest.mark.parametrize("code", [None, LaneExit.REPLACE, -9])
def test_a_reported_failure_counts_more_than_the_exit(code: int | None) -> None:
    """A host-started lane has no exit code in the worker."""
    assert cause(code, action=Action.REPLACE_LANE) is Cause.FAULT
    assert cause(code, action=Action.OPEN_CIRCUIT) is Cause.TOKEN
    assert cause(code, action=Action.OPEN_CIRCUIT, pin=True) is Cause.PIN


@pytest.mark.parametrize("code", [-11, 5, LaneExit.REPLACE, None])
def test_the_token_is_to_blame_for_a_lane_that_never_logged_in(code: int | None) -> None:
    """The lane had no work, whatever its exit code and its failure."""
    assert cause(code, ready=False) is Cause.TOKEN
    assert cause(code, ready=False, action=Action.REPLACE_LANE) is Cause.TOKEN


def test_a_silent_lane_is_a_fault_of_the_hsm() -> None:
    """The worker killed the lane, so the signal is not a crash."""
    end = classify_exit(code=-9, failure=None, asked=False, killed_as="silent", ready=True)
    assert (end.cause, end.reason) == (Cause.FAULT, "silent")


@pytest.mark.parametrize("code", [0, -9, LaneExit.REPLACE, None])
def test_nothing_is_to_blame_for_a_lane_that_was_told_to_stop(code: int | None) -> None:
    """Neither its exit code nor the failure that it reported count."""
    assert cause(code, asked=True, action=Action.REPLACE_LANE) is Cause.ASKED


@pytest.mark.parametrize(
    "code, reason", [(-11, "signal_11"), (5, "exit_5"), (None, "disconnected"), (70, "exit_70")]
)
def test_the_reason_is_short_and_from_a_small_set(code: int | None, reason: str) -> None:
    """It is a metric label: signal, exit code, or that there is none."""
    assert classify_exit(code=code, failure=None, asked=False, killed_as="", ready=True).reason == reason


def test_an_invalid_answer_blames_no_job() -> None:
    """The lane is at fault, not the job that it had: whether its process was killed or its connection closed."""
    for code in (-9, None):
        end = classify_exit(code=code, failure=None, asked=False, killed_as=INVALID_ANSWER, ready=True)
        assert (end.cause, end.reason) == (Cause.FAULT, "invalid_answer")


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
    """The first crash after a pause is one too many; after a signature one crash is not."""
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


def chunk(*slices: Slice) -> ChunkSent:
    return ChunkSent(slices[0].group, list(slices), 0.0)


@pytest.mark.parametrize("end", [CRASH, FAULT])
def test_only_slices_of_the_oldest_chunk_are_suspect(end: ExitReason) -> None:
    """All are taken back in their order; those of the chunk that only waited share a lane again."""
    first, second, waited = slice_of("first"), slice_of("second"), slice_of("waited")
    taken = list(LostChunks(poison_crashes=3).take_back([chunk(first, second), chunk(waited)], end))
    assert taken == [first, second, waited]
    assert [slice_.alone for slice_ in taken] == [True, True, False]


@pytest.mark.parametrize("cause_of_end", [Cause.ASKED, Cause.TOKEN, Cause.PIN])
def test_a_lane_that_did_not_end_over_its_work_makes_nothing_suspect(cause_of_end: Cause) -> None:
    """Its chunks are signed by the next lane as before, and nothing is on record."""
    lost, slice_ = LostChunks(poison_crashes=3), slice_of("a")
    (taken,) = lost.take_back([chunk(slice_)], ExitReason(cause_of_end, "token"))
    assert not taken.alone
    assert not lost.has_history


def test_a_lane_that_crashed_without_a_chunk_counts_against_its_token() -> None:
    """There is no job that could be blamed."""
    lost = LostChunks(poison_crashes=3)
    for _ in range(CRASHES_IN_A_ROW):
        assert list(lost.take_back([], CRASH)) == []
    assert lost.token.too_many_crashes


def test_a_job_is_given_up_with_the_last_crash_that_it_may_cause() -> None:
    """Its dead letter has the exit reason of each lane, and the token is cleared of these crashes."""
    lost, suspect = LostChunks(poison_crashes=2), slice_of("suspect")
    assert list(lost.take_back([chunk(suspect)], CRASH)) == [suspect]
    assert list(lost.take_back([chunk(suspect)], ExitReason(Cause.CRASH, "exit_5"))) == []
    assert suspect.crashes == ("signal_11", "exit_5")
    assert isinstance(suspect.job, FakeJob)
    assert suspect.job.poisoned == [(0, 1)]
    assert not lost.has_history


@pytest.mark.parametrize("end", [CRASH, FAULT, ExitReason(Cause.ASKED, "stopped")])
def test_a_job_that_has_ended_is_neither_signed_again_nor_blamed(end: ExitReason) -> None:
    """Another lane refused it: no client waits for its signatures, and another job may still be blamed."""
    lost, slice_ = LostChunks(poison_crashes=1), slice_of("ended")
    job = slice_.job
    assert isinstance(job, FakeJob)
    job.needs_signatures = False
    assert list(lost.take_back([chunk(slice_)], end)) == []
    assert (job.in_doubt, job.skipped, job.poisoned, job.faulted) == (True, 1, [], [])
    assert lost.token.may_blame_job
    assert not lost.jobs


def test_faults_of_the_hsm_end_with_a_job_that_is_requeued() -> None:
    """It is no dead letter, and its faults stay on record for when it is claimed here again."""
    lost, suspect = LostChunks(poison_crashes=2), slice_of("suspect")
    for _ in range(MOST_FAULTS - 1):
        assert list(lost.take_back([chunk(suspect)], FAULT)) == [suspect]
    assert list(lost.take_back([chunk(suspect)], FAULT)) == []
    assert isinstance(suspect.job, FakeJob)
    assert (suspect.job.faulted, suspect.job.poisoned) == ([(0, 1)], [])
    assert lost.jobs


def test_crashes_of_long_ago_are_forgotten() -> None:
    """Neither token nor job has a history then."""
    lost = LostChunks(poison_crashes=3)
    list(lost.take_back([chunk(slice_of("a"))], CRASH))
    lost.forget_crashes()
    assert not lost.has_history


@pytest.mark.parametrize(
    "cause_of_end, was_ready, after",
    [
        (Cause.ASKED, True, TokenAfter.USED),
        (Cause.FAULT, True, TokenAfter.USED),
        (Cause.CRASH, True, TokenAfter.USED),
        (Cause.TOKEN, True, TokenAfter.FAILED),
        (Cause.TOKEN, False, TokenAfter.NOT_STARTED),
        (Cause.PIN, False, TokenAfter.PIN_REFUSED),
        (Cause.PIN, True, TokenAfter.PIN_REFUSED),
    ],
)
def test_what_the_token_is_good_for_after_one_lane(
    cause_of_end: Cause, was_ready: bool, after: TokenAfter
) -> None:
    """A refused PIN waits for an operator, a token that cannot be used for a pause; a crash or a fault alone is not its own."""
    lost = LostChunks(poison_crashes=3)
    end = ExitReason(cause_of_end, "x")
    list(lost.take_back([], end))
    assert lost.token_after(end, was_ready=was_ready) is after


def test_the_token_has_failed_after_three_crashes_in_a_row() -> None:
    """Crashes count whatever their jobs; a signature in between starts the count again."""
    lost = LostChunks(poison_crashes=3)

    def crash() -> TokenAfter:
        list(lost.take_back([], CRASH))
        return lost.token_after(CRASH, was_ready=True)

    assert [crash(), crash()] == [TokenAfter.USED] * 2
    lost.token.record_signature()
    assert [crash() for _ in range(3)] == [TokenAfter.USED, TokenAfter.USED, TokenAfter.FAILED]
