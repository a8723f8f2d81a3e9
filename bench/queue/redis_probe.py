"""Redis as the harness sees it: INFO, and a connection for what a microbenchmark does itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from bench.measurement.cpu import redis_cpu_s
from queueing.config.redis import RedisConfig
from queueing.redis.connection import connect

if TYPE_CHECKING:
    from arq.connections import ArqRedis

    from workers.dev.config_files import RedisAddress

T = TypeVar("T")


class RedisProbe:
    """One connection to a private Redis, used from a program without a loop of its own."""

    def __init__(self, place: RedisAddress | RedisConfig) -> None:
        self.config = place if isinstance(place, RedisConfig) else _config_of(place)
        self._runner = asyncio.Runner()
        self._redis = connect(
            self.config, blocking_s=120.0
        )  # a script that makes a million jobs takes its time

    def do(self, work: Callable[[ArqRedis], Awaitable[T]]) -> T:
        """Run a coroutine function with the connection."""

        async def run() -> T:
            return await work(self._redis)

        return self._runner.run(run())

    def info(self, section: str) -> dict[str, Any]:
        """One section of INFO."""
        return dict(self.do(lambda redis: redis.info(section)))

    @property
    def pid(self) -> int:
        """The server's process id."""
        return int(self.info("server")["process_id"])

    def cpu_s(self) -> float:
        """CPU time of the server so far, to the microsecond."""
        return redis_cpu_s(self.info("cpu"))

    def round_trips(self) -> int:
        """Requests that the server has read from sockets so far, this one included.

        A pipeline counts once, as it should; a request beyond 16 KiB is read in pieces and counts for several,
        so the number is an upper bound. INFO commandstats would count what scripts call as well.
        """
        return int(self.info("stats")["total_reads_processed"])

    def close(self) -> None:
        """Close the connection."""
        self._runner.run(self._redis.aclose())
        self._runner.close()


def _config_of(place: RedisAddress) -> RedisConfig:
    return RedisConfig(unix_socket=str(place.socket), password_file=str(place.password_file))
