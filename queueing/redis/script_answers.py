"""Answers of Lua scripts and of Redis' own commands, checked before they are used: the one place where they get their types.

Answers of scripts have the shapes that the head of each script states; redis-py parses those of some commands, such as TIME. A proxy, a server that imitates Redis, or one that runs
another script can answer anything: that is an error of this call, as an outage is, and not of the process that reads it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from queueing.redis.errors import REDIS_ERRORS, AnswerMalformed
from queueing.redis.values import MOST_COUNT

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis.asyncio import Redis

T = TypeVar("T")

_UNREADABLE: Final = (ValueError, TypeError, LookupError, AttributeError)
"""Errors of redis-py's parsers over an answer of another shape."""


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


def check_parsers(redis: Redis) -> None:
    """Have redis-py's parsers of this client raise ``AnswerMalformed``, and no error of Python, for what they cannot parse."""
    callbacks = redis.response_callbacks
    for command, parse in [*callbacks.items()]:
        callbacks[command] = _checking(parse)
    callbacks["TIME"] = _checking(_time)


def _checking(parse: Callable[..., Any]) -> Callable[..., Any]:
    def checking(answer: object, **options: object) -> Any:
        try:
            return parse(answer, **options)
        except _UNREADABLE as error:
            raise malformed(type(error).__name__) from error

    return checking


def _time(answer: Any) -> tuple[int, int]:
    """Seconds and microseconds, in bounds within which they can be reckoned with."""
    seconds, microseconds = (int(part) for part in answer)
    if not (0 <= seconds <= MOST_COUNT // 1_000_000 and 0 <= microseconds < 1_000_000):
        raise ValueError("no time")
    return seconds, microseconds


def malformed(detail: str) -> AnswerMalformed:
    """The error of an answer; ``detail`` names types and places, none of its values."""
    return AnswerMalformed(
        f"an answer of Redis has another shape than it should ({detail}): connect to Redis itself,"
        " without a proxy that changes answers"
    )
