"""One tenant's queue, for all its clients at this relay: its Redis user, one reply stream, and the clients that wait."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from queueing.aio.events import wait_for
from queueing.broker.job_state import result_sizes, results_of
from queueing.broker.job_values import QueuedState
from queueing.client.delivery.redis_access import RedisAccess
from queueing.client.delivery.reply_stream import BLOCK_S, ReplyReader
from queueing.errors import QueueUnavailable, QueueUnconfirmed
from queueing.redis.connection import connect
from queueing.unix_time import unix_ms
from workers.relay.waiting import WaitingClient, WaitingClients, groups_of, parts_by_size

if TYPE_CHECKING:
    from queueing.config.redis import RedisConfig

log = logging.getLogger("sigmill.relay")

SWEEP_S: Final = 2.0
"""Interval at which Redis is asked for results that no push brought: of jobs that went through another relay, or before a restart."""

CHECK_S: Final = 1.0
"""Wait after which it is looked up once whether the queue still has the jobs of a client."""

GATHER_S: Final = 0.001
"""Time in which further results join the first one: workers commit many at a time."""

CLOSE_S: Final = 0.5
"""Time for Redis to take note of the end, as a worker gives it."""

MOST_LOOKS: Final = 8
"""Polls whose jobs are looked up at a time: each has the results of ``_MOST_JOBS`` in memory, of which its answer has 1 MiB."""

LOOK_WAIT_S: Final = 10.0
"""Longest wait for that, which a client grants beside the time that it asked for."""

_MOST_JOBS: Final = 128
"""Jobs per question: their results have some 4 MB."""

_FEW_JOBS: Final = 16
"""Jobs whose results are read without a question about their sizes: at most 64 MiB."""

_MOST_BYTES: Final = 8 * 1024 * 1024
"""Of the results of more jobs so many bytes are read at a time, and at least one result."""


class TenantQueue:
    """A tenant's queue: submits and questions by ``access``, and polls by ``results``."""

    def __init__(self, tenant: str, config: RedisConfig) -> None:
        self.tenant = tenant
        self.reply_id = secrets.token_hex(16)
        self._redis = connect(config)
        blocking = connect(config, blocking_s=BLOCK_S)
        self.access = RedisAccess(
            self._redis,
            blocking,
            tenant=tenant,
            reply_id=self.reply_id,
            now_ms=unix_ms,
            wait=config.replica_wait(),
        )
        self.clients = WaitingClients()
        self._replies = ReplyReader(blocking, tenant, self.reply_id, self.clients, self)
        self._failing = False
        self._looks = asyncio.Semaphore(MOST_LOOKS)

    def loops(self) -> Sequence[Coroutine[Any, Any, None]]:
        """The loops that bring results, to be run until they are cancelled."""
        return self._replies.run(), self.sweep()

    async def results(self, job_ids: Sequence[str], *, wait_s: float, check: bool) -> WaitingClient:
        """Results of these jobs: at once, or as soon as there is something, or nothing after the time.

        Raises ``QueueUnavailable`` where Redis cannot be asked at the beginning, or is asked for too many other clients.
        """
        loop = asyncio.get_running_loop()
        with self.clients.waiting(job_ids, loop.time()) as client:
            async with self._one_look():
                await self._look([client], check=check)
            if not client.complete and await wait_for(client.some, wait_s) and len(client.job_ids) > 1:
                await asyncio.sleep(GATHER_S)
            return client

    async def settle_pushed(self, results: Mapping[str, bytes]) -> None:
        """Hand over results that the reply stream brought, if a client waits for them and, under ``replicated``, replicas have them."""
        if not self.access.confirms:
            self.clients.hand_over(results)
            return
        wanted = self.clients.wanted(results)
        with contextlib.suppress(QueueUnavailable, QueueUnconfirmed):  # the sweep finds them later
            async for part in self._parts(wanted, check=False):
                self.clients.hand_over(_done(part, await self.access.look_up(part, confirmed=True)))

    async def sweep(self) -> None:
        """Ask for results that no push brought, until cancelled. Errors of Redis are logged once, until it answers again."""
        while True:
            await self.clients.some.wait()
            await asyncio.sleep(SWEEP_S)
            try:
                await self._sweep_once()
            except (QueueUnavailable, QueueUnconfirmed) as error:
                if not self._failing:
                    log.warning("relay.redis_failed", extra={"tenant": self.tenant, "why": str(error)})
                self._failing = True
            else:
                self._failing = False

    async def close(self) -> None:
        """Remove the reply stream, unless Redis is slow: it expires then. Close the connections, in any case. The loops have ended."""
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    await self._replies.remove()
        finally:
            await self.access.aclose()

    @contextlib.asynccontextmanager
    async def _one_look(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(LOOK_WAIT_S):
                await self._looks.acquire()
        except TimeoutError:
            raise QueueUnavailable("the jobs of many other clients are looked up before") from None
        try:
            yield
        finally:
            self._looks.release()

    async def _sweep_once(self) -> None:
        await self._check(self.clients.unchecked(asyncio.get_running_loop().time() - CHECK_S))
        jobs = self.clients.jobs()
        async for part in self._parts(jobs, check=False):
            self.clients.hand_over(await self._results(part))

    async def _check(self, clients: Iterable[WaitingClient]) -> None:
        """Look up whether the queue has the jobs of these clients, many clients in a round trip."""
        for group in groups_of(clients, _MOST_JOBS):
            await self._look(group, check=True)

    async def _look(self, clients: Sequence[WaitingClient], *, check: bool) -> None:
        job_ids = list(dict.fromkeys(job_id for client in clients for job_id in client.job_ids))
        async for part in self._parts(job_ids, check=check):
            lost: set[str] = set()
            if not check:
                found = await self._results(part)
            else:
                states = await self.access.look_up(part, confirmed=self.access.confirms)
                found = _done(part, states)
                lost.update(job_id for job_id, state in zip(part, states, strict=True) if state.lost)
            for client in clients:
                client.lacks(client.job_ids & lost)
                for job_id in client.job_ids & found.keys():
                    client.add(job_id, found[job_id])
        for client in clients:
            client.checked = client.checked or check  # a look-up that failed is repeated by the next sweep

    async def _parts(self, job_ids: Sequence[str], *, check: bool) -> AsyncIterator[Sequence[str]]:
        """The jobs in parts whose results are read at a time; jobs without a result only where it is looked up whether they are there."""
        for first in range(0, len(job_ids), _MOST_JOBS):
            some = job_ids[first : first + _MOST_JOBS]
            if len(some) <= _FEW_JOBS:
                yield some
                continue
            sizes = dict(zip(some, await result_sizes(self._redis, some), strict=True))
            wanted = [job_id for job_id in some if check or sizes[job_id]]
            for part in parts_by_size(wanted, sizes, _MOST_BYTES):
                yield part

    async def _results(self, job_ids: Sequence[str]) -> dict[str, bytes]:
        if self.access.confirms:
            return _done(job_ids, await self.access.look_up(job_ids, confirmed=True))
        found = await results_of(self._redis, job_ids)
        return {job_id: result for job_id, result in zip(job_ids, found, strict=True) if result is not None}


def _done(job_ids: Sequence[str], states: Sequence[QueuedState]) -> dict[str, bytes]:
    return {
        job_id: state.result
        for job_id, state in zip(job_ids, states, strict=True)
        if state.result is not None
    }
