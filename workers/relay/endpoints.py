"""Operations of the relay's protocol: the bytes of a request in, an answer out. No HTTP here."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from queueing.broker.job_values import QueuedState, QueuePosition
from queueing.broker.submissions import Receipt, Receipts, RemainingCapacity, Submission, SubmitStatus
from queueing.client.delivery import relay_messages as messages
from queueing.client.delivery.queue_access import QueueWait
from queueing.errors import EnvelopeAudience, EnvelopeMalformed, PolicyDenied, SigningError
from queueing.protocol.envelope import read_unverified
from queueing.protocol.jobs import content_hash, job_id_of, tenant_of_job_id
from queueing.unix_time import unix_ms

if TYPE_CHECKING:
    from workers.relay.admission import Admission
    from workers.relay.settings import RelaySettings
    from workers.relay.tenant_queue import TenantQueue
    from workers.telemetry.edge_metrics import RelayMetrics

_MOST_RESULT_BYTES: Final = 1024 * 1024
"""Results in the answer to a submit; the client polls for further ones."""

_NO_JOB: Final = QueuedState(result=None, has_job=False, due_ms=None, leased=False)
_NO_WAIT: Final = QueueWait(QueuePosition(queued=0, in_work=0, ahead=None, retry_in_s=None), None)
_NO_CAPS: Final = RemainingCapacity(backlog_digests=None, backlog_bytes=None, budget_digests=None)
_LOOKED_UP_AT_ONCE: Final = 16
"""Jobs of one look-up whose results all go into one answer: at most 64 MiB, of which no more than 8 are sent."""

_STATE_BYTES: Final = 32
"""Above what an answer has for each job beside its value."""

_READ_AT_ONCE: Final = 16
"""Envelopes read before the loop may turn: 16 x 15 us, or 300 us of the largest ones."""


@dataclass(frozen=True, slots=True)
class Reply:
    """Answer to a request. ``limited_s``: no envelope was accepted, by the tenant's limits; the time after which there may be room.

    ``last``: the relay closes the connection. ``tenant``: the one for whose client it is.
    """

    body: bytes
    limited_s: float | None = None
    last: bool = False
    tenant: str = ""


class Endpoints:
    """The operations, by path. Each raises ``SigningError``."""

    def __init__(
        self,
        settings: RelaySettings,
        queues: Mapping[str, TenantQueue],
        *,
        admission: Admission,
        metrics: RelayMetrics,
    ) -> None:
        self._audience = settings.audience
        self._queues = queues
        self._admission = admission
        self._metrics = metrics
        self._posts: dict[str, Callable[[TenantQueue, bytes], Awaitable[Reply]]] = {
            messages.JOBS: self._submit,
            messages.STATES: self._states,
            messages.CANCEL: self._cancel,
            messages.RECEIPTS: self._receipts,
            messages.WAITING: self._waiting,
        }
        self._gets: dict[str, Callable[[TenantQueue], Awaitable[Reply]]] = {
            messages.DIRECTORY: self._directory,
            messages.TIME: self._time,
        }

    @property
    def paths(self) -> frozenset[str]:
        """The known paths."""
        return frozenset(self._posts) | frozenset(self._gets) | {messages.RESULTS}

    def method(self, path: str) -> str:
        """HTTP method of a known path."""
        return "GET" if path in self._gets else "POST"

    def check_room(self, path: str) -> None:
        """Raise ``Shed`` where no tenant's message to this path would be taken now: before its body is received."""
        if path == messages.RESULTS:
            self._admission.check_client()
        else:
            self._admission.check_request()

    async def post(self, path: str, body: bytes) -> Reply:
        """Answer to a message. Raises ``EnvelopeMalformed`` where it is none, ``Shed`` where the relay has too much in hand.

        Of a message that is shed only the tenant is decoded.
        """
        tenant = messages.decoded(body, messages.TenantOf).tenant
        if path == messages.RESULTS:
            return replace(await self._results(self._queue(tenant), body), tenant=tenant)
        with self._in_hand(tenant) as queue:
            return replace(await self._posts[path](queue, body), tenant=tenant)

    async def get(self, path: str, tenant: str) -> Reply:
        """Answer to a question about one tenant."""
        with self._in_hand(tenant) as queue:
            return replace(await self._gets[path](queue), tenant=tenant)

    async def _submit(self, queue: TenantQueue, body: bytes) -> Reply:
        envelopes = messages.decoded(body, messages.SubmitRequest).envelopes
        receipts: list[Receipt | None] = []
        submissions: list[Submission] = []
        for number, each in enumerate(envelopes, 1):
            try:
                submissions.append(self._submission(queue, each))
                receipts.append(None)
            except SigningError as error:
                receipts.append(Receipt(SubmitStatus.REFUSED, refusal=error))
            if not number % _READ_AT_ONCE:
                await asyncio.sleep(0)
        room = _NO_CAPS
        taken: Iterator[Receipt] = iter(())
        if submissions:
            answer = await queue.access.submit(submissions)
            room, taken = answer.room, iter(answer)
        found = Receipts([next(taken) if each is None else each for each in receipts], room)
        for receipt in found:
            self._metrics.envelopes.labels(receipt.accepted.value).inc()
        return Reply(messages.encoded(messages.SubmitAnswer.of(_shortened(found))), _limited_s(found))

    def _submission(self, queue: TenantQueue, each: messages.SubmittedEnvelope) -> Submission:
        envelope = read_unverified(each.sealed).envelope
        if envelope.tenant != queue.tenant:
            raise EnvelopeAudience("the envelope is of another tenant than the request")
        if envelope.audience != self._audience:
            raise EnvelopeAudience("the envelope is for another service than this relay's")
        return Submission(
            job_id=job_id_of(envelope.tenant, envelope.idempotency_key),
            envelope=envelope,
            sealed=each.sealed,
            content=content_hash(envelope),
            reply_id=queue.reply_id,
            priority=each.priority,
            receipt=each.receipt,
        )

    async def _results(self, queue: TenantQueue, body: bytes) -> Reply:
        self._admission.check_client_of(queue.tenant)
        request = messages.decoded(body, messages.PollRequest)
        ours, foreign = _split(queue.tenant, request.job_ids)
        with self._admission.waiting_client(queue.tenant, len(request.job_ids)):
            wait_s = 0.0 if foreign or not ours else request.wait_ms / 1000
            found = await queue.results(ours, wait_s=wait_s, check=request.check)
        answer = messages.PollAnswer(found.found, (*found.unknown, *foreign))
        return Reply(messages.encoded(answer), last=self._admission.draining)

    async def _states(self, queue: TenantQueue, body: bytes) -> Reply:
        request = messages.decoded(body, messages.IdsRequest)
        ours, _ = _split(queue.tenant, request.job_ids)
        size = _AnswerSize(request.job_ids)
        known: dict[str, QueuedState] = {}
        for part in _parts(ours, _LOOKED_UP_AT_ONCE):
            states = await queue.access.look_up(part, confirmed=queue.access.confirms)
            for job_id, state in zip(part, states, strict=True):
                size.add(job_id, state.result)
                known[job_id] = state
        return Reply(
            messages.encoded(
                [messages.JobStateMessage.of(known.get(job_id, _NO_JOB)) for job_id in request.job_ids]
            )
        )

    async def _cancel(self, queue: TenantQueue, body: bytes) -> Reply:
        request = messages.decoded(body, messages.CancelRequest)
        _refuse_foreign(queue.tenant, request.job_ids)
        statuses = await queue.access.cancel(request.client, request.job_ids, now_ms=unix_ms())
        return Reply(messages.encoded(statuses))

    async def _receipts(self, queue: TenantQueue, body: bytes) -> Reply:
        request = messages.decoded(body, messages.IdsRequest)
        _refuse_foreign(queue.tenant, request.job_ids)
        ours, _ = _split(queue.tenant, request.job_ids)
        size = _AnswerSize(request.job_ids)
        known: dict[str, bytes | None] = {}
        for part in _parts(ours, messages.MOST_JOBS):
            for job_id, proof in zip(part, await queue.access.receipts(part), strict=True):
                size.add(job_id, proof)
                known[job_id] = proof
        return Reply(messages.encoded([known[job_id] for job_id in request.job_ids]))

    async def _waiting(self, queue: TenantQueue, body: bytes) -> Reply:
        ours, _ = _split(queue.tenant, messages.decoded(body, messages.IdsRequest).job_ids)
        wait = await queue.access.queue_wait(ours) if ours else _NO_WAIT
        return Reply(messages.encoded(messages.WaitingAnswer.of(wait)))

    async def _directory(self, queue: TenantQueue) -> Reply:
        published = await queue.access.directory()
        return Reply(messages.encoded(messages.DirectoryAnswer.of(published)))

    async def _time(self, queue: TenantQueue) -> Reply:
        return Reply(messages.encoded(await queue.access.time_ms()))

    @contextlib.contextmanager
    def _in_hand(self, tenant: str) -> Iterator[TenantQueue]:
        """Queue of the tenant; within the block it has one request more in hand. Raises ``PolicyDenied`` and ``Shed``."""
        queue = self._queue(tenant)
        with self._admission.request(tenant):
            yield queue

    def _queue(self, tenant: str) -> TenantQueue:
        queue = self._queues.get(tenant)
        if queue is None:
            raise PolicyDenied("this relay does not serve this tenant")
        return queue


def _split(tenant: str, job_ids: Sequence[str]) -> tuple[list[str], list[str]]:
    """Ids of this tenant's jobs, each once, and others."""
    each = list(dict.fromkeys(job_ids))
    ours = [job_id for job_id in each if tenant_of_job_id(job_id) == tenant]
    return ours, [job_id for job_id in each if tenant_of_job_id(job_id) != tenant]


def _parts(job_ids: Sequence[str], most: int) -> Iterator[Sequence[str]]:
    """The ids, so many at a time: what is read of them is in memory before its size is known."""
    for first in range(0, len(job_ids), most):
        yield job_ids[first : first + most]


class _AnswerSize:
    """Size of an answer that has a value for each id of a request, in its order: an id that is there twice has it twice."""

    def __init__(self, job_ids: Sequence[str]) -> None:
        self._times = Counter(job_ids)
        self._size_bytes = len(job_ids) * _STATE_BYTES

    def add(self, job_id: str, value: bytes | None) -> None:
        """Add the value of an id. Raises ``EnvelopeMalformed`` where no client reads so long an answer."""
        self._size_bytes += self._times[job_id] * len(value or b"")
        if self._size_bytes > messages.LARGEST_ANSWER_BYTES:
            raise EnvelopeMalformed(
                f"the answer has more than {messages.LARGEST_ANSWER_BYTES} bytes: ask for fewer jobs at a time"
            )


def _refuse_foreign(tenant: str, job_ids: Sequence[str]) -> None:
    if _split(tenant, job_ids)[1]:
        raise EnvelopeMalformed("the message names a job that is none of this tenant")


def _shortened(receipts: Receipts) -> Receipts:
    """The receipts without the results that would make the answer too large."""
    left = _MOST_RESULT_BYTES
    found = []
    for each in receipts:
        size_bytes = len(each.result or b"")
        left -= size_bytes
        found.append(
            each if left >= 0 or not size_bytes else Receipt(each.accepted, confirmed=each.confirmed)
        )
    return Receipts(found, receipts.room)


def _limited_s(receipts: Receipts) -> float | None:
    """Time after which there may be room, where the limits refused every envelope."""
    waits = [
        each.refusal.retry_after_s for each in receipts if each.refusal is not None and each.refusal.retryable
    ]
    if len(waits) < len(receipts):
        return None
    return min((wait_s for wait_s in waits if wait_s is not None), default=1.0)
