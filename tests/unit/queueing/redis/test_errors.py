"""Translation of redis-py's errors: none of its classes reaches a caller of ours."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import Final

import pytest
import redis.asyncio.sentinel
import redis.exceptions

import queueing
import workers
from queueing.errors import QueueUnavailable
from queueing.redis.errors import AnswerLost, redis_errors, unavailable

_CLASSES: Final = sorted(
    {
        member
        for module in (redis.exceptions, redis.asyncio.sentinel)
        for _, member in inspect.getmembers(module, inspect.isclass)
        if issubclass(member, Exception) and member.__module__.startswith("redis.")
    },
    key=lambda each: each.__name__,
)


@pytest.mark.parametrize("error", _CLASSES, ids=lambda each: each.__name__)
def test_every_class_of_redis_becomes_queue_unavailable(error: type[Exception]) -> None:
    """Each exception class that redis-py defines is translated; the foreign one stays its cause."""
    foreign = error.__new__(error, "gone")
    with (
        pytest.raises(QueueUnavailable, match=f"^cannot read the queue: {error.__name__}: ") as caught,
        redis_errors("read the queue"),
    ):
        raise foreign
    assert caught.value.__cause__ is foreign
    assert caught.value.retryable


@pytest.mark.parametrize("error", [OSError, TimeoutError, ConnectionResetError, BrokenPipeError])
def test_errors_of_the_network_become_queue_unavailable(error: type[OSError]) -> None:
    """Errors of the operating system or asyncio on the way to Redis are translated too."""
    with pytest.raises(QueueUnavailable), redis_errors("read the queue"):
        raise error


def test_other_errors_pass() -> None:
    """A defect of our own is not mistaken for an outage of Redis."""
    with pytest.raises(KeyError), redis_errors("read the queue"):
        raise KeyError("ours")


def test_a_lost_answer_is_perhaps_done() -> None:
    """Only of a command that is sent once and whose answer was lost is it unknown whether it was carried out."""
    assert unavailable("claim jobs", AnswerLost("late")).perhaps_done
    assert not unavailable("claim jobs", redis.exceptions.ConnectionError("refused")).perhaps_done


def test_no_module_catches_the_roots_of_redis_by_hand() -> None:
    """``RedisError`` stands in an ``except`` of no shipped module: ``redis_errors`` and ``REDIS_ERRORS`` are the one place."""
    caught = [
        f"{path.name}:{handler.lineno}"
        for package in (queueing, workers)
        for path in Path(package.__path__[0]).rglob("*.py")
        if "RedisError" in (text := path.read_text("utf-8"))
        for handler in ast.walk(ast.parse(text))
        if isinstance(handler, ast.ExceptHandler) and handler.type is not None
        if any(isinstance(name, ast.Name) and name.id == "RedisError" for name in ast.walk(handler.type))
    ]
    assert caught == []
