"""Reason for which a client waits, as one sentence for people; it decides nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from queueing.broker.queue_position import queue_position
from queueing.coordination.hindrances import hindrance_of
from queueing.coordination.worker_registry import registered_workers
from queueing.errors import SigningError
from queueing.errors.counts import agreed, counted
from queueing.redis.connection import with_connection

if TYPE_CHECKING:
    from queueing.broker.queue_position import QueuePosition
    from queueing.client.signing_client import SigningClient
    from queueing.config.redis import RedisConfig


async def wait_reason(client: SigningClient) -> str:
    """Object of the wait, its place in the queue, and why, as far as Redis tells; empty for no job.

    Four round trips on connections of their own; a tenant's own Redis user may not see the workers. Raises nothing.
    """
    trouble = client.submit_trouble
    if trouble is not None:
        return f"the queue has not taken the jobs: {trouble.message}"
    job_ids, tenant = client.waiting_jobs.ids, client.config.tenant
    if not job_ids:
        return ""
    redis_config = client.config.redis
    if redis_config is None:  # a relay does not tell
        return f"{counted(len(job_ids), 'job')} {agreed(len(job_ids), 'is', 'are')} not answered yet"
    try:
        position = await with_connection(redis_config, lambda redis: queue_position(redis, tenant, job_ids))
    except SigningError as error:
        return error.message
    if not position.queued:
        in_work = position.in_work
        return f"{counted(in_work, 'job')} {agreed(in_work, 'is', 'are')} with a worker" if in_work else ""
    causes = (_place(position), await _hindrance(redis_config, tenant), await _workers(redis_config))
    return "; ".join(cause for cause in causes if cause)


def _place(position: QueuePosition) -> str:
    if position.retry_in_s is not None:
        return (
            f"a worker returned {counted(position.queued, 'job')} unsigned, because the key's token cannot be used or is held by others;"
            f" next try in {position.retry_in_s:.0f} s (the operator sees the reason in `sigmill tokens list`)"
        )
    queued = f"{counted(position.queued, 'job')} {agreed(position.queued, 'is', 'are')} in the queue"
    return queued if position.ahead is None else f"{queued}, {counted(position.ahead, 'job')} ahead"


async def _hindrance(config: RedisConfig, tenant: str) -> str:
    """Tokens for which a worker signs nothing for this tenant; empty where none says so, or this Redis user may not read it."""
    try:
        found = await with_connection(config, lambda redis: hindrance_of(redis, tenant))
    except SigningError:
        return ""
    return "" if found is None else str(found)


async def _workers(config: RedisConfig) -> str:
    """State of the workers, in as far as it explains a wait; empty if they are well, or cannot be seen."""
    try:
        registered = await with_connection(config, registered_workers)
    except SigningError:
        return ""
    workers = [worker.info for worker in registered if worker.alive]
    if not workers:
        return "no worker is running"
    if not any(worker.ready for worker in workers):
        return "no worker is ready"
    notes = []
    drained = sorted({token for worker in workers for token in worker.drained})
    open_circuits = sorted({token for worker in workers for token in worker.circuits_open})
    if drained:
        notes.append(f"drained tokens: {', '.join(drained)}")
    if open_circuits:
        notes.append(f"tokens with an open circuit breaker: {', '.join(open_circuits)}")
    return "; ".join(notes)
