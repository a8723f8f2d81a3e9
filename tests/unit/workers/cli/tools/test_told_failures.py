"""Exit codes and lines of a command whose signatures failed."""

from __future__ import annotations

import pytest

from queueing.agent.failures import Failure, FailureLog
from queueing.errors import AlgorithmUnknown, PolicyDenied, SigningError, WaitTimeout
from workers.cli.tools.told_failures import PrintedFailures, tell_failures


def log_of(*errors: SigningError) -> FailureLog:
    log = FailureLog()
    for error in errors:
        log.add(Failure(key="release/1", error=error))
    return log


@pytest.mark.parametrize(
    "errors, child, code",
    [
        ((), 0, 0),
        ((), 3, 3),
        ((PolicyDenied(),), 3, 77),
        ((PolicyDenied(), WaitTimeout(), AlgorithmUnknown()), 3, 77),
        ((WaitTimeout(),), 3, 75),
        ((WaitTimeout(), AlgorithmUnknown()), 3, 3),
        ((AlgorithmUnknown(),), 3, 3),
        ((PolicyDenied(), WaitTimeout()), 0, 0),
    ],
)
def test_the_exit_code_says_whether_trying_again_helps(
    errors: tuple[SigningError, ...], child: int, code: int
) -> None:
    """77: denied; 75: nothing but time is missing; else the command's own code, and 0 stays 0."""
    assert tell_failures(log_of(*errors), child, as_json=False) == code


def test_equal_failures_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """With their number, code and hint."""
    tell_failures(log_of(*[PolicyDenied("outside its hours")] * 12), 1, as_json=False)
    assert capsys.readouterr().err.splitlines() == [
        "error: release/1: outside its hours (12 times) [policy.denied]",
        f"hint: {PolicyDenied.hint}",
    ]


def test_an_agent_prints_each_failure_when_it_occurs(capsys: pytest.CaptureFixture[str]) -> None:
    """In one line, without what could steer a terminal."""
    PrintedFailures().add(Failure(key="", error=PolicyDenied("\x1b[2J")))
    assert capsys.readouterr().err == "note: \\x1b[2J [policy.denied]\n"
