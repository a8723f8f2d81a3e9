"""Translation of redis-py's errors into ``QueueUnavailable``: the one place, with one shape of message.

    cannot <action>: <class of the error>: <text of Redis or the operating system>      or the fault of a certificate

Redis' own words name types and keys of ours, never a payload.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from redis.exceptions import ChildDeadlockedError, RedisClusterException, RedisError, ResponseError

from queueing.errors import QueueUnavailable
from queueing.redis.faults import is_server_wide, reason_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class AnswerLost(RedisError):
    """Redis has run the commands, will run them, or never saw them: raised by ``queueing.redis.send_once``."""


class AnswerMalformed(RedisError):
    """A script or command has run, and its answer is none of Redis': raised by ``queueing.redis.script_answers``."""


REDIS_ERRORS: Final = (RedisError, RedisClusterException, ChildDeadlockedError, OSError)
"""Every error of redis-py, of which two have another root, and of the network below it: ``OSError`` has the time-outs of
asyncio and what TLS and the resolver raise."""

_FOREIGN_VALUE: Final = ("WRONGTYPE", "value is not an integer", "increment or decrement would overflow")
"""Errors of commands over a value that no command of ours, or of arq, has made."""


def is_foreign_value(error: object) -> bool:
    """Whether Redis says that a value has a foreign type or is no number. OOM, READONLY, NOPERM tell nothing about it.

    A pipeline puts the command in front of Redis' own words.
    """
    return isinstance(error, ResponseError) and any(words in str(error) for words in _FOREIGN_VALUE)


def unavailable(action: str, error: Exception) -> QueueUnavailable:
    """The ``QueueUnavailable`` of an error, for an answer in a list. ``action``: an infinitive ("read the queue").

    ``perhaps_done`` is set where the answer to something that is sent once was lost, or cannot be read.
    """
    return QueueUnavailable(
        f"cannot {action}: {reason_of(error)}",
        perhaps_done=isinstance(error, (AnswerLost, AnswerMalformed)),
        server_wide=is_server_wide(error),
    )


def raise_outage(answers: Iterable[object]) -> None:
    """Raise the error of a shard that could not be reached, which is in the places of its answers.

    For what must not take a silent shard for an empty one; a ``ResponseError`` is an answer.
    """
    for answer in answers:
        if isinstance(answer, RedisError) and not isinstance(answer, ResponseError):
            raise answer


@contextlib.contextmanager
def redis_errors(action: str) -> Iterator[None]:
    """Raise ``QueueUnavailable`` (retryable) instead of any error of Redis, or of the way to it, within the block."""
    try:
        yield
    except REDIS_ERRORS as error:
        raise unavailable(action, error) from error
