"""Classification of a lane's exit."""

from __future__ import annotations

import pytest

from workers.hsm.faults import Action
from workers.lanes.exit_codes import LaneExit
from workers.lanes.protocol import LaneFailure
from workers.lanes.supervisor.exit_reason import INVALID_ANSWER, OPEN_CIRCUIT, Cause, classify_exit


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
