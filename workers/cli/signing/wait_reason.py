"""Reason for which a client waits, as one sentence for people; it decides nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from queueing.coordination.worker_registry import registered_workers
from queueing.errors import SigningError
from queueing.errors.counts import agreed, counted
from queueing.redis.connection import with_connection

if TYPE_CHECKING:
    from queueing.broker.job_values import QueuePosition
    from queueing.client.signing_client import SigningClient
    from queueing.config.redis import RedisConfig


async def wait_reason(client: SigningClient) -> str:
    """Object of the wait, its place in the queue, and why, as far as Redis or the relay tells; empty for no job.

    Up to four round trips; a relay and a tenant's own Redis user do not see the workers. Raises nothing.
    """
    trouble = client.submit_trouble
    if trouble is not None:
        return f"the queue has not taken the jobs: {trouble.message}"
    jobs = len(client.waiting_jobs.ids)
    if not jobs:
        return ""
    try:
        wait = await client.queue_wait()
    except SigningError as error:
        return error.message
    if wait is None:
        return f"{counted(jobs, 'job')} {agreed(jobs, 'is', 'are')} not answered yet"
    position = wait.position
    if not position.queued:
        in_work = position.in_work
        return f"{counted(in_work, 'job')} {agreed(in_work, 'is', 'are')} with a worker" if in_work else ""
    hindrance = "" if wait.hindrance is None else str(wait.hindrance)
    causes = (_place(position), hindrance, await _workers(client.config.redis))
    return "; ".join(cause for cause in causes if cause)


def _place(position: QueuePosition) -> str:
    if position.retry_in_s is not None:
        return (
            f"a worker returned {counted(position.queued, 'job')} unsigned, because the key's token cannot be used or is held by others;"
            f" next try in {position.retry_in_s:.0f} s (the operator sees the reason in `sigmill tokens list`)"
        )
    queued = f"{counted(position.queued, 'job')} {agreed(position.queued, 'is', 'are')} in the queue"
    return queued if position.ahead is None else f"{queued}, {counted(position.ahead, 'job')} ahead"


async def _workers(config: RedisConfig | None) -> str:
    """State of the workers, in as far as it explains a wait; empty if they are well, or cannot be seen."""
    if config is None:
        return ""
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
