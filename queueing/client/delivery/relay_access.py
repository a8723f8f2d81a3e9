"""Access of a client to its tenant's queue through a relay, by HTTPS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from queueing.broker.job_values import MOST_PLACED, CancelStatus, status_from
from queueing.broker.submissions import Receipts
from queueing.client.delivery import relay_messages as messages
from queueing.client.delivery.queue_access import PublishedDirectory
from queueing.client.delivery.relay_connection import (
    NoRelay,
    RelayConnection,
    refuse_final,
    refuse_wrong_address,
)
from queueing.client.delivery.result_polls import ResultPolls
from queueing.errors import ConfigError, QueueUnavailable, ReceiptMissing, SigningError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from queueing.broker.job_values import JobStatus, QueuedState
    from queueing.broker.submissions import Receipt, Submission
    from queueing.client.delivery.lost_jobs import LostJobRecovery
    from queueing.client.delivery.pending_jobs import PendingJobs
    from queueing.client.delivery.queue_access import QueueWait

T = TypeVar("T")

_MOST_SEALED_BYTES: Final = messages.MOST_BODY_BYTES - 64 * 1024
"""Envelopes of one request; the rest is for headers of the message."""


class RelayAccess:
    """The queue behind a relay (``queueing.client.delivery.queue_access.QueueAccess``).

    The relay's own configuration has the accept level, so nothing is to be confirmed here.
    """

    confirms: Final = False

    def __init__(self, connection: RelayConnection, *, tenant: str) -> None:
        self._connection = connection
        self._tenant = tenant

    async def submit(self, submissions: Sequence[Submission]) -> Receipts:
        """Submit, in requests of at most 1 MiB. After a failure the whole may be submitted again."""
        found: list[Receipt] = []
        room = None
        for part in _parts(submissions):
            envelopes = tuple(
                messages.SubmittedEnvelope(each.sealed, each.priority, each.receipt) for each in part
            )
            request = messages.SubmitRequest(self._tenant, envelopes)
            receipts = (await self._ask(messages.JOBS, request, messages.SubmitAnswer)).receipts()
            if len(receipts) != len(part):
                raise QueueUnavailable("the relay answered for another number of envelopes")
            found += receipts
            room = receipts.room
        assert room is not None, "nothing was submitted"
        return Receipts(found, room)

    async def results(self, job_ids: Sequence[str], *, wait_ms: int, check: bool) -> messages.PollAnswer:
        """Results of these jobs, waited for until there is one, or the time has passed."""
        request = messages.PollRequest(self._tenant, tuple(job_ids), wait_ms, check)
        return await self._ask(messages.RESULTS, request, messages.PollAnswer, wait_s=wait_ms / 1000)

    async def look_up(
        self,
        job_ids: Sequence[str],
        *,
        confirmed: bool = False,  # noqa: ARG002 - as in the interface
    ) -> list[QueuedState]:
        """State of each job; the relay confirms where its configuration says so."""
        request = messages.IdsRequest(self._tenant, tuple(job_ids))
        states = await self._ask(messages.STATES, request, list[messages.JobStateMessage])
        return [each.state() for each in _each(states, job_ids)]

    async def status(self, job_id: str) -> JobStatus:
        """State of one job."""
        return status_from(job_id, (await self.look_up([job_id]))[0])

    async def cancel(
        self,
        client: str,
        job_ids: Sequence[str],
        *,
        now_ms: int,  # noqa: ARG002 - the relay dates what it leaves
    ) -> list[CancelStatus]:
        """Cancel; the relay compares the client with that of the envelope, as a client does with Redis."""
        request = messages.CancelRequest(self._tenant, client, tuple(job_ids))
        return _each(await self._ask(messages.CANCEL, request, list[CancelStatus]), job_ids)

    async def queue_wait(self, job_ids: Sequence[str]) -> QueueWait | None:
        """Reason for which these jobs wait, as the relay tells it. None for a relay of an earlier version, and for an answer that is none."""
        asked = tuple(job_ids[:MOST_PLACED])
        request = messages.encoded(messages.IdsRequest(self._tenant, asked))
        try:
            raw = await self._connection.post(messages.WAITING, request)
            wait = messages.decoded(raw, messages.WaitingAnswer).wait()
        except NoRelay:
            return None  # a proxy that lets no other paths pass
        except QueueUnavailable:
            raise
        except SigningError:
            return None
        return wait if wait.position.queued + wait.position.in_work <= len(asked) else None

    async def directory(self) -> PublishedDirectory:
        """The signed key directory. Raises ``ConfigError`` where the relay does not serve the tenant, or by its certificate."""
        try:
            raw = await self._connection.get(f"{messages.DIRECTORY}?tenant={self._tenant}")
        except QueueUnavailable as error:
            refuse_final(error)
            raise
        except SigningError as error:
            remedy = "Compare `tenant` and `url` with what the operator of the relay says."
            raise ConfigError("client.toml", "tenant", error.message, remedy) from error
        return messages.decoded(raw, messages.DirectoryAnswer).published()

    async def diagnose(self, error: QueueUnavailable) -> None:
        """Tell a wrong host name, and a port without TLS, from an outage."""
        refuse_wrong_address(error)

    async def time_ms(self) -> int:
        """Clock of Redis, as the relay reads it now."""
        with _as_unavailable():
            raw = await self._connection.get(f"{messages.TIME}?tenant={self._tenant}")
            return messages.decoded(raw, int)

    async def receipts(self, job_ids: Sequence[str]) -> list[bytes | None]:
        """Proofs of jobs."""
        request = messages.IdsRequest(self._tenant, tuple(job_ids))
        return _each(await self._ask(messages.RECEIPTS, request, list[bytes | None]), job_ids)

    def receiver(self, pending: PendingJobs, recovery: LostJobRecovery) -> ResultPolls:
        """Long polls."""
        return ResultPolls(self, pending, recovery)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._connection.aclose()

    async def _ask(self, path: str, request: object, kind: type[T], *, wait_s: float = 0.0) -> T:
        with _as_unavailable():
            raw = await self._connection.post(path, messages.encoded(request), wait_s=wait_s)
            return messages.decoded(raw, kind)


class _as_unavailable:  # noqa: N801 - a context manager, used as one
    """Raise ``QueueUnavailable`` for every refusal of a whole request: as with Redis, the call waits and tries again."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, SigningError) and not isinstance(error, QueueUnavailable | ReceiptMissing):
            retry_after_s = error.retry_after_s if isinstance(error, Unavailable) else None
            raise QueueUnavailable(
                f"the relay refuses: [{error.reason}] {error.message}", retry_after_s=retry_after_s
            ) from error


def _each(values: list[T], job_ids: Sequence[str]) -> list[T]:
    if len(values) != len(job_ids):
        raise QueueUnavailable("the relay answered for another number of jobs")
    return values


def _parts(submissions: Sequence[Submission]) -> Iterator[list[Submission]]:
    part: list[Submission] = []
    size_bytes = 0
    for each in submissions:
        if part and (size_bytes + len(each.sealed) > _MOST_SEALED_BYTES or len(part) >= messages.MOST_JOBS):
            yield part
            part, size_bytes = [], 0
        part.append(each)
        size_bytes += len(each.sealed)
    if part:
        yield part
