"""Access of one client to its tenant's queue: Redis itself, or a relay. The rest of the client knows neither."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

if TYPE_CHECKING:
    from queueing.broker.hindrance_values import Hindrance
    from queueing.broker.job_values import CancelStatus, JobStatus, QueuedState, QueuePosition
    from queueing.broker.submissions import Receipts, Submission
    from queueing.client.delivery.lost_jobs import LostJobRecovery
    from queueing.client.delivery.pending_jobs import PendingJobs
    from queueing.errors import QueueUnavailable


class PublishedDirectory(msgspec.Struct, frozen=True):
    """The signed key directory (None: none is published), and the clock of Redis when it was read (Unix ms; None: it tells none)."""

    sealed: bytes | None
    time_ms: int | None


@dataclass(frozen=True, slots=True)
class QueueWait:
    """Reason for which jobs wait, for people: their place in the queue, and why a worker signs nothing for the tenant, if one says so."""

    position: QueuePosition
    hindrance: Hindrance | None


class Receiver(Protocol):
    """Receiver of the results of one client: it settles the pending jobs."""

    def loops(self) -> Sequence[Coroutine[Any, Any, None]]:
        """The loops, to be run until they are cancelled."""

    async def close(self) -> None:
        """Leave nothing behind in the queue. The loops have ended. Raises nothing."""


class QueueAccess(Protocol):
    """Operations on one tenant's queue. Each is one round trip, and raises ``QueueUnavailable`` (retryable)."""

    @property
    def confirms(self) -> bool:
        """Whether results and submits count only when replicas have them, for which ``look_up`` asks."""

    async def submit(self, submissions: Sequence[Submission]) -> Receipts:
        """One receipt for each submission, in order."""

    async def look_up(self, job_ids: Sequence[str], *, confirmed: bool = False) -> list[QueuedState]:
        """State of each job. ``confirmed``: as replicas have it, else ``QueueUnconfirmed``."""

    async def status(self, job_id: str) -> JobStatus:
        """State of one job, for people."""

    async def cancel(self, client: str, job_ids: Sequence[str], *, now_ms: int) -> list[CancelStatus]:
        """Remove queued jobs of this client: one status each, in order."""

    async def queue_wait(self, job_ids: Sequence[str]) -> QueueWait | None:
        """Reason for which these jobs, of at most 128, wait; up to three round trips. None where a relay does not tell."""

    async def directory(self) -> PublishedDirectory:
        """The signed key directory with the clock of Redis. ``ConfigError`` for what a retry cannot change."""

    async def diagnose(self, error: QueueUnavailable) -> None:
        """Raise ``ConfigError`` where an outage that lasts has a cause in the configuration."""

    async def time_ms(self) -> int:
        """Clock of Redis, which the hosts of the service share (Unix ms)."""

    async def receipts(self, job_ids: Sequence[str]) -> list[bytes | None]:
        """Proofs of jobs, unverified; None where there is none. ``ReceiptMissing`` where they may not be read."""

    def receiver(self, pending: PendingJobs, recovery: LostJobRecovery) -> Receiver:
        """The receiver of this client's results; made once."""

    async def aclose(self) -> None:
        """Close the connections."""
