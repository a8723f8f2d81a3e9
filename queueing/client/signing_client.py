"""``SigningClient``: signs the digests of a build farm."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

from queueing.client.config import ClientConfig
from queueing.client.delivery.pending_jobs import WaitingJobs
from queueing.client.epoch_store import EpochStore
from queueing.client.open_client import OpenClient
from queueing.client.sign_stream import DigestStream, RequestSlices
from queueing.client.signatures import Outcome, Signature
from queueing.client.signing_request import (
    DIGESTS_PER_SLICE,
    Target,
    cut_requests,
    split_valid,
)
from queueing.client.submitted_job import Job, JobPart, outcomes_of
from queueing.config.accept_level import AcceptLevel
from queueing.errors import EnvelopeAudience, SigningError
from queueing.protocol.algorithms import Algorithm
from queueing.protocol.client_keys import ClientKey
from queueing.protocol.key_directory import KeyEntry
from queueing.protocol.priorities import Priority
from queueing.unix_time import unix_ms

if TYPE_CHECKING:
    from queueing.broker.job_values import CancelStatus, JobStatus
    from queueing.broker.submissions import RemainingCapacity
    from queueing.client.delivery.queue_access import QueueWait
    from queueing.client.receipts import Runner


class SigningClient:
    """One client of one tenant; open it with ``async with``, use it from one event loop.

    A key is named ``KEY`` or ``KEY/VERSION``; ``algorithm`` None is the key's default. ``timeout_s`` None is
    ``deadline_s`` of the configuration, and without that, for ever: while the queue cannot be reached, or has no
    room for the tenant, calls wait and try again. ``priority`` orders the tenant's own jobs: ``release`` before
    ``normal`` before ``nightly``. ``accept`` is when the queue has a job, instead of the configuration's level: under
    ``replicated`` a submit that too few replicas confirm is sent again, with the same ids, until the deadline
    (``QueueUnconfirmed``). ``key``: the client's own; None for one with an ``identity``, which obtains and renews
    grants. Errors are ``SigningError``; ``retryable`` says whether asking again can help.
    """

    def __init__(
        self,
        config: ClientConfig,
        key: ClientKey | None = None,
        *,
        accept: AcceptLevel | str | None = None,
        now_ms: Callable[[], int] = unix_ms,
    ) -> None:
        config.check_place("client.toml")
        self._config = config if accept is None else config.with_accept_level(AcceptLevel(accept))
        self._key = key
        self._now_ms = now_ms
        self._pinned = config.pinned_keys()
        self._epochs = EpochStore(
            Path(config.state_file) if config.state_file else None,
            audience=config.audience,
            tenant=config.tenant,
        )
        self._parts: OpenClient | None = None

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], *, accept: AcceptLevel | str | None = None) -> Self:
        """A client as ``client.toml`` describes it; raises ``ConfigError``."""
        config = ClientConfig.from_file(Path(path))
        return cls(config, config.client_key(), accept=accept)

    async def __aenter__(self) -> Self:
        self._parts = OpenClient(
            self._config, self._key, pinned=self._pinned, epochs=self._epochs, now_ms=self._now_ms
        )
        await self._parts.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Calls still waiting end with ``WaitTimeout``: their jobs continue, and can be found by id.

        A ``submit`` that the queue has not taken raises why; what was not sent yet, ``QueueUnavailable``.
        """
        await self._open.close()

    async def sign(
        self,
        key: str,
        digest: bytes,
        algorithm: Algorithm | str | None = None,
        *,
        priority: Priority | str = Priority.NORMAL,
        timeout_s: float | None = None,
        receipt: bool = False,
    ) -> Signature:
        """Sign one digest. Concurrent calls share envelopes, so ``gather`` of thousands is cheap.

        With ``receipt`` the signature comes with its ``receipt``, a second or two later, and after ``receipt_timeout_s`` of the
        configuration (10 s) or at the deadline without it: ``receipt_missing`` says why. A receipt never fails a signature.
        Raises the ``SigningError`` of this digest; ``WaitTimeout`` carries the job id and loses nothing.
        """
        deadline_s = self._deadline_s(timeout_s)
        good, bad = split_valid((digest,))
        if bad:
            raise bad[0]
        target = await self._target(key, algorithm, deadline_s)
        await self._open.builder.identity.ready(deadline_s)
        return await self._open.single_calls.sign(
            target, good[0], deadline_s, Priority(priority), receipt=receipt
        )

    async def sign_many(  # noqa: PLR0913 - a public call, whose options are named
        self,
        key: str,
        digests: Iterable[bytes] | AsyncIterable[bytes],
        algorithm: Algorithm | str | None = None,
        request_id: str | None = None,
        *,
        priority: Priority | str = Priority.NORMAL,
        timeout_s: float | None = None,
        receipts: bool = False,
    ) -> AsyncGenerator[Outcome, None]:
        """Sign digests as they come; one outcome each, in input order: a ``Signature`` or a ``SigningError``.

        With a ``request_id`` a repeated run over the same digests gets back what is done. The input is cut at
        every 64th position. 8,192 digests are under way at once, and up to 65,536 while the service answers within a
        second. A source that waits for outcomes before it yields more digests should call ``sign()`` instead. ``receipts``: each signature comes with its
        receipt, as in ``sign()``, with the same wait for each envelope. What concerns the whole call (an unknown
        key, a false directory) is raised before the first outcome.
        """
        deadline_s = self._deadline_s(timeout_s)
        target = await self._target(key, algorithm, deadline_s)

        signer = RequestSlices(
            runner=self._open.receipt_runner,
            target=target,
            request_id=request_id,
            priority=Priority(priority),
            deadline_s=deadline_s,
            receipt=receipts,
        )
        stream = DigestStream(
            signer, self._open.tasks, digests, DIGESTS_PER_SLICE, under_way=signer.under_way
        )
        async with contextlib.aclosing(stream.outcomes()) as answered:
            async for outcomes in answered:
                for outcome in outcomes:
                    yield outcome

    async def submit(  # noqa: PLR0913 - a public call, whose options are named
        self,
        key: str,
        digests: Iterable[bytes],
        algorithm: Algorithm | str | None = None,
        request_id: str | None = None,
        *,
        priority: Priority | str = Priority.NORMAL,
        timeout_s: float | None = None,
        receipts: bool = False,
    ) -> Job:
        """Put digests into the queue; returns when the queue has them all. One round trip per 128 envelopes.

        An invalid digest is refused alone; its error is in the job. ``receipts``: the service makes receipts, which
        ``receipts()`` collects. Raises ``QueueUnavailable``,
        ``QueueUnconfirmed``, ``LimitBacklog`` or ``LimitBudget`` (then submitting again under the same request id is safe), or
        ``JobConflict``.
        """
        deadline_s = self._deadline_s(timeout_s)
        target = await self._target(key, algorithm, deadline_s)
        cut = cut_requests(target, digests, request_id, Priority(priority), receipt=receipts)
        builder = self._open.builder
        requests = [part for whole in cut.requests for part in await builder.fitting(whole, deadline_s)]
        sealed = [await builder.seal(request, deadline_s) for request in requests]
        await self._open.transport.accept(sealed, deadline_s)
        return Job(
            tenant=self._config.tenant,
            key=target.key,
            key_version=target.key_version,
            algorithm=target.algorithm,
            count=cut.count,
            parts=tuple(JobPart(builder.job_id(r), r.idempotency_key, r.digests) for r in requests),
            refused=cut.refused,
            request_id=request_id,
            priority=Priority(priority),
            receipts=receipts,
        )

    async def wait(self, job: Job | str, *, timeout_s: float | None = None) -> list[Outcome]:
        """The outcomes of a submitted job, one per digest, in order; also in another process, or again.

        A ``Job`` knows its digests: signatures are verified, and what expired or was lost is sent again.
        Of a bare job id, the outcomes of that envelope come back unverified (``Signature.verified``).
        Raises ``WaitTimeout`` with the ids that are not answered; of a bare id also the error of the whole
        job, and ``JobUnknown``.
        """
        if isinstance(job, str):
            deadline_s = self._deadline_s(timeout_s)
            self._check_open()
            return await self._open.runner.outcomes_by_id(job, deadline_s)
        return await self._wait(job, self._open.part_runner, timeout_s)

    async def receipts(self, job: Job, *, timeout_s: float | None = None) -> list[Outcome]:
        """Outcomes of a job, with their receipts where it was submitted with ``receipts=True``; also later, and in another process.

        They are kept as long as the job's results (``result_retention_s``). A signature whose receipt does not come within
        ``receipt_timeout_s`` says why (``Signature.receipt_missing``).
        """
        return await self._wait(job, self._open.receipt_runner, timeout_s)

    async def _wait(self, job: Job, runner: Runner, timeout_s: float | None) -> list[Outcome]:
        deadline_s = self._deadline_s(timeout_s)
        self._check_open()
        if job.tenant != self._config.tenant:
            raise EnvelopeAudience("the job belongs to another tenant")
        await self._open.clock.first_measured(deadline_s)
        return await outcomes_of(job, runner, self._open.tasks, deadline_s)

    @property
    def room(self) -> RemainingCapacity | None:
        """Capacity that the last submit left to the tenant; None before the first."""
        return self._open.transport.room

    async def cancel(self, job_ids: Sequence[str]) -> list[CancelStatus]:
        """Remove jobs of this client that no worker has claimed: one status each, in order.

        Two round trips; raises ``QueueUnavailable``. Under grants, jobs of the same issuer and subject are of this client.
        """
        credential = await self._open.builder.identity.credential(0, self._deadline_s(None))
        return await self._open.access.cancel(credential.owner, job_ids, now_ms=self._now_ms())

    @property
    def config(self) -> ClientConfig:
        """The settings of this client."""
        return self._config

    @property
    def submit_trouble(self) -> SigningError | None:
        """Reason for which the queue has not taken one of the jobs that calls wait for; None if it has them all."""
        return self._open.transport.pending.trouble()

    @property
    def waiting_jobs(self) -> WaitingJobs:
        """Jobs that calls of this client wait for now, by what is known of their submit. None before it is open."""
        return WaitingJobs() if self._parts is None else self._parts.transport.pending.waiting_jobs()

    async def queue_wait(self) -> QueueWait | None:
        """Place in the queue of the jobs that calls wait for, and what hinders it; None where a relay does not tell.

        Raises ``QueueUnavailable``. There must be such a job.
        """
        return await self._open.access.queue_wait(self.waiting_jobs.ids)

    async def status(self, job_id: str) -> JobStatus:
        """State of a job: queued, running, done, failed or unknown. One round trip; raises ``QueueUnavailable``."""
        return await self._open.access.status(job_id)

    async def keys(self) -> Mapping[str, KeyEntry]:
        """The tenant's keys by name, with their algorithms, versions and certificates; the same object until they change.

        From a key directory no older than ``directory_refresh_s``, or one that has not expired, while Redis cannot be asked.
        Raises ``QueueUnavailable``, or ``ResultInvalid`` for a false directory.
        """
        self._check_open()
        return (await self._open.directory.directory()).keys

    async def default_algorithm(self, key: str, *, timeout_s: float | None = None) -> Algorithm:
        """The algorithm that ``algorithm=None`` means with this key now; raises ``KeyUnknown``, or as the directory fails."""
        return (await self._target(key, None, self._deadline_s(timeout_s))).algorithm

    async def verify(self, signature: Signature, digest: bytes) -> None:
        """Check a signature against a digest and a key directory no older than ``directory_refresh_s``.

        Raises ``ResultInvalid`` (final) unless it is good and its key version is active or verify-only, and
        ``QueueUnavailable`` where Redis has no directory and the last one has expired.
        """
        await self._open.verify(signature, digest)

    async def _target(self, key: str, algorithm: Algorithm | str | None, deadline_s: float | None) -> Target:
        self._check_open()
        return await self._open.target(key, algorithm, deadline_s)

    @property
    def _open(self) -> OpenClient:
        if self._parts is None:
            raise RuntimeError("the client is used before `async with`")
        return self._parts

    def _check_open(self) -> None:
        self._open.check_open()

    def _deadline_s(self, timeout_s: float | None) -> float | None:
        timeout_s = self._config.deadline_s if timeout_s is None else timeout_s
        return None if timeout_s is None else asyncio.get_running_loop().time() + timeout_s
