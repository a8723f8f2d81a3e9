"""Classification of a lane's exit: caused by the token, by the job that it had, or by neither. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from workers.lanes.exit_codes import LaneExit

if TYPE_CHECKING:
    from workers.lanes.protocol import LaneFailure


class Cause(Enum):
    """Cause of a lane's exit.

    ASKED  it was told to stop, or did not answer a reload; neither job nor token is to blame
    TOKEN  the token cannot be used, or the host has no lane for it: the circuit breaker opens for a pause
    PIN    the token refused the PIN: the circuit breaker stays open until an operator has replaced it
    FAULT  the HSM failed or hung, or the lane sent an invalid message; no job is to blame for that
    CRASH  the process crashed in the middle of the work: a signal, or an exit code that is not a lane's
    """

    ASKED = "asked"
    TOKEN = "token"  # noqa: S105 - no password
    PIN = "pin"
    FAULT = "fault"
    CRASH = "crash"


@dataclass(frozen=True, slots=True)
class ExitReason:
    """Cause of an exit; ``reason`` for label, log and dead letter; ``code``: exit code, None for a host-started lane."""

    cause: Cause
    reason: str
    code: int | None = None


OPEN_CIRCUIT: Final = "open_circuit"
"""``Action.OPEN_CIRCUIT`` of ``workers.hsm.faults``, as a lane sends it: the worker imports no PKCS#11."""


INVALID_ANSWER: Final = "invalid_answer"
"""Reason of a lane that the worker killed over an invalid message."""


def classify_exit(
    *, code: int | None, failure: LaneFailure | None, asked: bool, killed_as: str, ready: bool
) -> ExitReason:
    """Classify by the failure that the lane reported and by its exit code.

    ``killed_as``: reason for which the worker killed it (``silent`` or ``INVALID_ANSWER``), else empty.

    A lane that exited before it had logged in had no work: the token is to blame, unless another lane is logged in.
    """
    action = failure.action if failure is not None else ""
    if asked:
        cause = Cause.ASKED
    elif code == LaneExit.PIN or (failure is not None and failure.pin_failure):
        cause = Cause.PIN
    elif not ready or action == OPEN_CIRCUIT or code in {LaneExit.CIRCUIT, LaneExit.CONFIG}:
        cause = Cause.TOKEN
    elif failure is not None or killed_as or code == LaneExit.REPLACE:
        cause = Cause.FAULT
    else:
        cause = Cause.CRASH
    return ExitReason(cause, _reason(code, failure, killed_as), code)


def _reason(code: int | None, failure: LaneFailure | None, killed_as: str) -> str:
    if failure is not None:
        return failure.code_name
    if killed_as:
        return killed_as
    if code is None:
        return "disconnected"
    return f"signal_{-code}" if code < 0 else f"exit_{code}"
