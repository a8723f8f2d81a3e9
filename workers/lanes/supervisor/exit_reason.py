"""What the end of a lane says: about the token, about the job that it had, or about neither. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from workers.lanes.exit_codes import LaneExit

if TYPE_CHECKING:
    from workers.lanes.protocol import LaneFailure


class Cause(Enum):
    """Whom the end of a lane speaks against.

    ASKED  nobody: it was told to end, or did not obey a reload
    TOKEN  the token cannot be used, or the host has no lane for it; leave it alone for a while
    PIN    the token refused the PIN; leave it alone until an operator has seen to it
    FAULT  the HSM failed or hung in the middle of the work; no job is to blame for an HSM that is ill
    CRASH  the process went down over its work: a signal, an exit that is not one of ours
    """

    ASKED = "asked"
    TOKEN = "token"  # noqa: S105 - no password
    PIN = "pin"
    FAULT = "fault"
    CRASH = "crash"


@dataclass(frozen=True, slots=True)
class ExitReason:
    """``reason`` is for label, log and dead letter; ``code`` the exit code, None for a lane of the host's."""

    cause: Cause
    reason: str
    code: int | None = None


OPEN_CIRCUIT: Final = "open_circuit"
"""``Action.OPEN_CIRCUIT`` of ``workers.hsm.faults``, as a lane says it: no PKCS#11 is imported in the worker."""


def classify_exit(
    *, code: int | None, last_word: LaneFailure | None, asked: bool, silent: bool, ready: bool
) -> ExitReason:
    """Judge by its last word and by how the process went. ``silent``: the worker ended it, for it said nothing more.

    A lane that was lost before it had logged in had no work: that speaks against the token, where no other lane is
    logged in to it.
    """
    word = last_word.action if last_word is not None else ""
    if asked:
        cause = Cause.ASKED
    elif code == LaneExit.PIN or (last_word is not None and last_word.pin_failure):
        cause = Cause.PIN
    elif not ready or word == OPEN_CIRCUIT or code in {LaneExit.CIRCUIT, LaneExit.CONFIG}:
        cause = Cause.TOKEN
    elif last_word is not None or silent or code == LaneExit.REPLACE:
        cause = Cause.FAULT
    else:
        cause = Cause.CRASH
    return ExitReason(cause, _reason(code, last_word, silent=silent), code)


def _reason(code: int | None, last_word: LaneFailure | None, *, silent: bool) -> str:
    if last_word is not None:
        return last_word.code_name
    if silent:
        return "silent"
    if code is None:
        return "disconnected"
    return f"signal_{-code}" if code < 0 else f"exit_{code}"
