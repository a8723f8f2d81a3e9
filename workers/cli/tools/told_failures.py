"""Failures of signatures on stderr: what a tool's own message cannot say."""

from __future__ import annotations

import msgspec

from queueing.agent.failures import Failure, FailureLog
from workers.cli.shell.output import ErrorObject, Exit, Tally, print_error, print_message


class PrintedFailures:
    """Failures, each printed when it occurs (``queueing.agent.failures.FailureSink``)."""

    def add(self, failure: Failure) -> None:
        """Print a failure in one line."""
        print_message(f"note: {_sentence(failure)} [{failure.error.reason}]")


def tell_failures(log: FailureLog, child_code: int, *, as_json: bool) -> int:
    """Print the failures of a command that ended with ``child_code``; return the exit code for it.

    A command that failed ends with 77 if a signature was denied, with 75 if signatures failed only temporarily, else with
    its own code. One that succeeded has tried again or done without: its failures are notes, its code stays 0.
    """
    tally = Tally()
    for failure, count in log.counted():
        tally.add(failure.error)
        times = "" if count == 1 else f" ({count} times)"
        error = msgspec.structs.replace(ErrorObject.of(failure.error), message=f"{_sentence(failure)}{times}")
        if child_code == 0 and not as_json:
            print_message(f"note: {error.message} [{error.code}]")
        else:
            print_error(error, as_json=as_json)
    if child_code == 0:
        return Exit.DONE
    if tally.denied:
        return Exit.DENIED
    return Exit.RETRY if tally.retryable and not tally.failed else child_code


def _sentence(failure: Failure) -> str:
    return f"{failure.key}: {failure.error.message}" if failure.key else failure.error.message
