"""Reader of a lane's messages: the boundary at which everything that a lane sends is checked, before it is used.

A lane runs a vendor's module, and a host-started lane belongs to another user: its answer may have any size, depth and
value. What is refused here ends that lane; its digests are signed by another one.
"""

from __future__ import annotations

import math
import re
from typing import Final

import msgspec

from queueing.protocol.jobs import WireError
from workers.lanes.protocol import (
    FromLane,
    Outcomes,
    Reloaded,
    SignedCanary,
    SignedDirectory,
    SignedStatement,
    SliceOutcome,
    from_lane_decoder,
)

MOST_TEXT: Final = 2000
"""Characters of an error text that are kept, on one line: it goes to the log, the client and the operator's terminal."""

MOST_CODE: Final = 64
"""Longer than any error code."""

MOST_RETRY_AFTER_S: Final = 366 * 86400.0

_LINE_BREAKERS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


class AnswerInvalid(ValueError):
    """A message of a lane that no lane of ours sends."""


def read_answer(body: bytes) -> FromLane:
    """Decode and check one message; its error texts are cut to ``MOST_TEXT`` characters. Raises ``AnswerInvalid``."""
    try:
        return _checked(from_lane_decoder.decode(body))
    except RecursionError:
        raise AnswerInvalid("a message is nested too deep") from None
    except msgspec.MsgspecError as error:
        raise AnswerInvalid(f"a message cannot be read: {one_line(str(error), 200)}") from None
    except (UnicodeDecodeError, OverflowError) as error:
        raise AnswerInvalid(f"a message cannot be read: {type(error).__name__}") from None


def one_line(text: str, most: int = MOST_TEXT) -> str:
    """The text on one line, without control characters, cut to ``most`` characters."""
    if len(text) > most:
        text = text[: most - 1] + "\u2026"
    return _LINE_BREAKERS.sub(" ", text)


def _checked(message: FromLane) -> FromLane:
    replace = msgspec.structs.replace
    if isinstance(message, Outcomes):
        if all(item.error is None and not item.errors for item in message.items):
            return message
        return replace(message, items=tuple(_slice(item) for item in message.items))
    if isinstance(message, SignedDirectory | SignedStatement | SignedCanary) and message.error is not None:
        return replace(message, error=_error(message.error))
    if isinstance(message, Reloaded):
        return replace(message, problem=one_line(message.problem))
    return message


def _slice(item: SliceOutcome) -> SliceOutcome:
    if item.error is None:
        errors = {place: _error(error) for place, error in item.errors.items()}
        return msgspec.structs.replace(item, errors=errors)
    if item.signatures or item.errors:
        raise AnswerInvalid("a slice is refused whole, and has outcomes of its digests, too")
    return msgspec.structs.replace(item, error=_error(item.error))


def _error(error: WireError) -> WireError:
    after_s = error.retry_after_s
    if len(error.code) > MOST_CODE:
        raise AnswerInvalid(f"an error code has {len(error.code)} characters")
    if after_s is not None and not (math.isfinite(after_s) and 0.0 <= after_s <= MOST_RETRY_AFTER_S):
        raise AnswerInvalid(f"an error is to be retried after {after_s} s")
    return WireError(one_line(error.code), one_line(error.message), after_s)
