"""Private stack: the end of its Redis is an error at once."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.waiting import until
from workers.dev.redis_server import RedisEnded, RedisServer
from workers.dev.stack import Stack
from workers.dev.worker_process import WorkerProcess


class LosesItsRedis(WorkerProcess):
    """Worker whose Redis is killed before it is ready."""

    def wait_until_ready(self, directories: int, redis: RedisServer | None = None) -> None:
        assert redis is not None
        os.kill(redis.pid, signal.SIGKILL)
        super().wait_until_ready(directories, redis)


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory with a short path: it has the path of a unix socket."""
    with tempfile.TemporaryDirectory(prefix="sigmill-") as name:
        yield Path(name)


def test_a_stack_whose_redis_ends_while_it_waits_for_its_workers_fails_at_once(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names Redis: a worker without it is never ready, and would be blamed after a minute."""
    monkeypatch.setattr("workers.dev.stack.WorkerProcess", LosesItsRedis)
    stack = Stack(directory)
    with pytest.raises(RedisEnded, match="redis-server ended with -9"):
        stack.__enter__()
    assert stack.worker_pids == (), "the worker was stopped as well"


def test_a_running_stack_tells_that_its_redis_has_ended(directory: Path) -> None:
    """``check`` says so; until then it says nothing."""
    with Stack(directory) as stack:
        stack.check()
        redis = stack._redis
        assert redis is not None
        os.kill(redis.pid, signal.SIGKILL)
        until(lambda: not redis.alive, "Redis has ended")
        with pytest.raises(RedisEnded):
            stack.check()
