"""Access of a client to its tenant's queue in Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from queueing.broker.cancel import cancel
from queueing.broker.hindrances import hindrance_of
from queueing.broker.job_state import look_up, status_of
from queueing.broker.queue_position import queue_position
from queueing.broker.receipts import fetch
from queueing.broker.submit import submit
from queueing.client.delivery.queue_access import PublishedDirectory, QueueWait
from queueing.client.delivery.reply_stream import BLOCK_S, ReplyReader
from queueing.errors import QueueUnavailable
from queueing.protocol import keyspace
from queueing.redis.connection import connect
from queueing.redis.errors import REDIS_ERRORS, redis_errors, unavailable
from queueing.redis.faults import refuse_final, refuse_unknown_host, refuse_unnamed_cluster
from queueing.redis.script_answers import checked
from queueing.redis.tls_probe import refuse_wrong_tls

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from redis.asyncio import Redis

    from queueing.broker.hindrance_values import Hindrance
    from queueing.broker.job_values import CancelStatus, JobStatus, QueuedState
    from queueing.broker.submissions import Receipts, Submission
    from queueing.client.delivery.lost_jobs import LostJobRecovery
    from queueing.client.delivery.pending_jobs import PendingJobs
    from queueing.config.accept_level import ReplicaWait
    from queueing.config.redis import RedisConfig


class RedisAccess:
    """The queue in Redis (``queueing.client.delivery.queue_access.QueueAccess``).

    ``redis`` serves short commands; ``blocking`` has the one connection that waits on the reply stream. ``wait``: replicas that a
    submit waits for (``queueing.config.accept_level``).
    """

    def __init__(
        self,
        redis: Redis,
        blocking: Redis,
        *,
        tenant: str,
        reply_id: str,
        now_ms: Callable[[], int],
        wait: ReplicaWait | None = None,
    ) -> None:
        self._redis = redis
        self._blocking = blocking
        self._tenant = tenant
        self._reply_id = reply_id
        self._now_ms = now_ms
        self._wait = wait

    @classmethod
    def connected(
        cls, config: RedisConfig, *, tenant: str, reply_id: str, now_ms: Callable[[], int]
    ) -> RedisAccess:
        """Access as the configuration says; nothing is sent yet."""
        return cls(
            connect(config),
            connect(config, blocking_s=BLOCK_S),
            tenant=tenant,
            reply_id=reply_id,
            now_ms=now_ms,
            wait=config.replica_wait(),
        )

    @property
    def confirms(self) -> bool:
        """Whether replicas have to confirm."""
        return self._wait is not None

    async def submit(self, submissions: Sequence[Submission]) -> Receipts:
        """Submit; see ``queueing.broker.submit``."""
        return await submit(self._redis, self._tenant, submissions, now_ms=self._now_ms(), wait=self._wait)

    async def look_up(self, job_ids: Sequence[str], *, confirmed: bool = False) -> list[QueuedState]:
        """State of each job; see ``queueing.broker.job_state``."""
        return await look_up(self._redis, self._tenant, job_ids, wait=self._wait if confirmed else None)

    async def status(self, job_id: str) -> JobStatus:
        """State of one job."""
        return await status_of(self._redis, self._tenant, job_id)

    async def cancel(self, client: str, job_ids: Sequence[str], *, now_ms: int) -> list[CancelStatus]:
        """Cancel; see ``queueing.broker.cancel``. Two round trips."""
        return await cancel(self._redis, self._tenant, client, job_ids, now_ms=now_ms)

    async def queue_wait(self, job_ids: Sequence[str]) -> QueueWait:
        """Reason for which these jobs wait; what keeps the tenant is asked for where one of them is in the queue."""
        position = await queue_position(self._redis, self._tenant, job_ids)
        return QueueWait(position, await self._hindrance() if position.queued else None)

    async def directory(self) -> PublishedDirectory:
        """The signed key directory. Raises ``ConfigError`` for a certificate, a login or a command that is refused."""
        try:
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.get(keyspace.directory(self._tenant))
                pipe.time()
                sealed, time = await pipe.execute(raise_on_error=False)
            if isinstance(sealed, Exception):
                raise sealed
            return PublishedDirectory(
                checked(sealed, bytes | None),  # type: ignore[arg-type]  # a union is a type
                None if isinstance(time, Exception) else _unix_ms(time),
            )
        except REDIS_ERRORS as error:
            refuse_final(error)
            refuse_unnamed_cluster(error)
            raise unavailable("fetch the key directory", error) from error

    async def diagnose(self, error: QueueUnavailable) -> None:
        """Tell a wrong host name, and TLS on one side only, from an outage; costs a connection."""
        if error.__cause__ is not None:
            refuse_unknown_host(error.__cause__)
            await refuse_wrong_tls(self._redis)

    async def time_ms(self) -> int:
        """TIME of Redis."""
        with redis_errors("read the clock of Redis"):
            return _unix_ms(await self._redis.time())

    async def receipts(self, job_ids: Sequence[str]) -> list[bytes | None]:
        """Proofs of jobs; see ``queueing.broker.receipts``."""
        return await fetch(self._redis, job_ids)

    def receiver(self, pending: PendingJobs, recovery: LostJobRecovery) -> RedisReceiver:
        """The reply stream, with lookups of what it does not bring."""
        return RedisReceiver(
            ReplyReader(self._blocking, self._tenant, self._reply_id, pending, recovery), recovery
        )

    async def aclose(self) -> None:
        """Close both pools."""
        try:
            await self._blocking.aclose()
        finally:
            await self._redis.aclose()

    async def _hindrance(self) -> Hindrance | None:
        """Hindrance of the tenant; None also where this Redis user, of an earlier version, may not read it."""
        try:
            return await hindrance_of(self._redis, self._tenant)
        except QueueUnavailable:
            return None


def _unix_ms(time: object) -> int:
    """Answer to TIME in ms; raises ``QueueUnavailable`` for another answer."""
    seconds, microseconds = checked(time, tuple[int, int])
    return seconds * 1000 + microseconds // 1000


class RedisReceiver:
    """Results by the reply stream, and by lookups of what it does not bring."""

    def __init__(self, replies: ReplyReader, recovery: LostJobRecovery) -> None:
        self._replies = replies
        self._recovery = recovery

    def loops(self) -> Sequence[Coroutine[Any, Any, None]]:
        """Reading, and looking up."""
        return self._replies.run(), self._recovery.run()

    async def close(self) -> None:
        """Remove the reply stream."""
        await self._replies.remove()
