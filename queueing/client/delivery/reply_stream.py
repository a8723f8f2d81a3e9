"""Reply stream of one client: results as they are committed, without polling.

One XREAD BLOCK at a time on a connection of its own. Each result completes the future of its job in ``PendingJobs``, for
which ``queueing.client.request_runner`` waits; it has the signatures verified by ``queueing.client.result_checker``. Results
that are lost here (a stream that expired, a failover) are found by ``queueing.client.delivery.lost_jobs``.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final, Protocol

from queueing.aio.backoff import REDIS_AWAY_S, Backoff
from queueing.protocol import keyspace
from queueing.redis.errors import REDIS_ERRORS
from queueing.redis.faults import reason_of
from queueing.redis.script_answers import checked
from queueing.redis.values import count_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from redis.asyncio import Redis

_log = logging.getLogger("sigmill.client")

BLOCK_S: Final = 10.0
"""Time that one XREAD blocks: only an idle wait reaches it, so an idle client sends six commands a minute."""

_READ_ENTRIES: Final = 64
_Streams = list[tuple[bytes, list[tuple[bytes, dict[bytes, bytes]]]]]
_TRIM_BYTES: Final = 1024 * 1024
"""Results read since the last XTRIM: at most about this much of what was read stays in Redis."""


class Waiting(Protocol):
    """Party that waits for results: ``queueing.client.delivery.pending_jobs.PendingJobs``, or the clients of a relay."""

    @property
    def some(self) -> asyncio.Event:
        """Set while there are jobs to wait for."""


class ResultSink(Protocol):
    """Receiver of results: ``queueing.client.delivery.lost_jobs.LostJobRecovery``, or a relay."""

    async def settle_pushed(self, results: Mapping[str, bytes]) -> None:
        """Take results by job id."""


class ReplyReader:
    """Reads the stream from its beginning, while results are waited for, and hands the results on."""

    def __init__(
        self,
        redis: Redis,
        tenant: str,
        reply_id: str,
        waiting: Waiting,
        sink: ResultSink,
        *,
        backoff: Backoff | None = None,
    ) -> None:
        self._redis = redis
        self._stream = keyspace.reply_prefix(tenant) + reply_id
        self._waiting = waiting
        self._sink = sink
        self._backoff = backoff or Backoff(most_s=REDIS_AWAY_S)
        self._last_id = b"0-0"
        self._untrimmed_bytes = 0
        self._used = False

    async def run(self) -> None:
        """Read until cancelled; an idle client, which waits for no job, sends nothing."""
        while True:
            if not self._waiting.some.is_set():
                await self._waiting.some.wait()
                # The job's submit is sent first: Redis and a worker begin while this is prepared.
                await asyncio.sleep(0)
            self._used = True
            try:
                await self._settle(await self._read())
                if self._untrimmed_bytes >= _TRIM_BYTES:
                    await self._trim()
                self._backoff.reset()
            except REDIS_ERRORS as error:
                wait_s = self._backoff.next_s()
                _log.warning(
                    "the reply stream cannot be read, next try in %.1f s: %s", wait_s, reason_of(error)
                )
                await asyncio.sleep(wait_s)

    async def remove(self) -> None:
        """Delete the stream if Redis can be reached: otherwise it expires."""
        if not self._used:
            return
        try:
            await self._redis.delete(self._stream)
        except REDIS_ERRORS:
            _log.debug("the reply stream is left to expire")

    async def _read(self) -> list[tuple[bytes, dict[bytes, bytes]]]:
        block_ms = int(BLOCK_S * 1000)
        answer = await self._redis.xread({self._stream: self._last_id}, count=_READ_ENTRIES, block=block_ms)
        streams = checked(answer, _Streams)
        return streams[0][1] if streams else []

    async def _settle(self, entries: list[tuple[bytes, dict[bytes, bytes]]]) -> None:
        pushed: dict[str, bytes] = {}
        for entry_id, results in entries:
            self._last_id = entry_id
            for job_id, result in results.items():
                self._untrimmed_bytes += len(result)
                pushed[job_id.decode("ascii", "replace")] = result
        await self._sink.settle_pushed(pushed)

    async def _trim(self) -> None:
        milliseconds, _, sequence = self._last_id.partition(b"-")
        after_last = b"%s-%d" % (milliseconds, count_of(sequence) + 1)
        await self._redis.xtrim(self._stream, minid=after_last, approximate=False)
        self._untrimmed_bytes = 0
