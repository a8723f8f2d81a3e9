"""Answers of Lua scripts, checked before they are used: the one place where they get their types.

Redis' own answers have the shapes that the head of each script states. A proxy, a server that imitates Redis, or one that runs
another script can answer anything: that is an error of this call, as an outage is, and not of the process that reads it.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from queueing.redis.errors import REDIS_ERRORS, AnswerMalformed

T = TypeVar("T")


def checked(answer: object, shape: type[T]) -> T:
    """The answer to one call as a value of ``shape``, a type that msgspec knows; integers become members of an ``IntEnum``.

    Raises the ``RedisError`` that the answer is, and ``AnswerMalformed``.
    """
    if isinstance(answer, REDIS_ERRORS):
        raise answer
    try:
        return msgspec.convert(answer, shape)
    except msgspec.ValidationError as error:
        raise malformed(str(error)) from None


def checked_each(answer: object, shape: type[list[T]], items: int) -> list[T]:
    """The answer to a call for several items: a value for each of them, in order. Raises as ``checked``."""
    values = checked(answer, shape)
    if len(values) != items:
        raise malformed(f"{len(values)} values for {items} items")
    return values


def malformed(detail: str) -> AnswerMalformed:
    """The error of an answer; ``detail`` names types and places, none of its values."""
    return AnswerMalformed(
        f"the answer of the script has another shape than it should ({detail}): connect to Redis itself,"
        " without a proxy that changes answers"
    )
