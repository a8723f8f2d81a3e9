"""Signing requests from the first submit to their checked outcomes, with renewed envelopes as often as it takes."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Iterator, Sequence
from copy import copy
from typing import Final, TypeVar

from queueing.aio.backoff import Backoff, wait_after
from queueing.broker.submissions import Submission
from queueing.client.delivery.transport import Transport
from queueing.client.receipts import Runner
from queueing.client.result_checker import ResultChecker
from queueing.client.service_clock import ServiceClock
from queueing.client.signatures import Outcome
from queueing.client.signing_request import EnvelopeBuilder, SigningRequest
from queueing.errors import (
    ClientRevoked,
    EnvelopeExpired,
    GrantExhausted,
    GrantExpired,
    GrantRefused,
    IdentityUnavailable,
    JobExpired,
    LimitBacklog,
    PolicyDenied,
    SigningError,
    WaitTimeout,
)
from queueing.protocol.jobs import decode_result

T = TypeVar("T")

_FIRST_RENEWAL_S: Final = 1.0
_MOST_RENEWAL_S: Final = 60.0
"""Longest pause between renewals of a job that is reported as expired before its time (a clock is wrong)."""

_MOST_GRANTS: Final = 3
"""Further grants for one request: a service that refuses each would otherwise be asked for ever."""

_REFUSALS_OF_GRANTS: Final = (GrantExpired, GrantExhausted, GrantRefused, ClientRevoked, PolicyDenied)
"""Refusals of an envelope that need not meet one under another grant: it has other digests left, another end, another name, and what
the issuer and the tenant's file permit now.
"""


class RequestRunner:
    """Runs requests; every failure is one of the outcomes."""

    def __init__(
        self, builder: EnvelopeBuilder, transport: Transport, checker: ResultChecker, clock: ServiceClock
    ) -> None:
        self._builder = builder
        self._transport = transport
        self._checker = checker
        self._clock = clock
        self._cut_off: dict[str, list[LimitBacklog]] = {}
        self._unsealed: Counter[str] = Counter()

    @property
    def largest_envelope(self) -> int:
        """Digests of one envelope at most, as far as is known."""
        return self._builder.identity.largest_envelope

    @property
    def busy(self) -> bool:
        """Whether envelopes are under way."""
        return self._transport.busy

    def job_id(self, request: SigningRequest) -> str:
        """The id that the request's job has or will have."""
        return self._builder.job_id(request)

    def why_unanswered(self, job_id: str, what_happened: str = "the deadline passed") -> SigningError:
        """The error of a caller who stops waiting for this job, whose request is being run, because of ``what_happened``."""
        cut_off = self._cut_off.get(job_id)
        if cut_off:
            return cut_off[-1]
        if job_id in self._unsealed:
            return copy(self._builder.identity.trouble()) or IdentityUnavailable(
                f"{what_happened} before there was a grant"
            )
        return self._transport.why_unanswered(job_id, what_happened)

    async def run(self, request: SigningRequest, deadline_s: float | None) -> list[Outcome]:
        """One outcome per digest, in order. Past the deadline they are ``WaitTimeout`` with the job id, or
        ``QueueUnavailable``, ``LimitBacklog``, ``LimitBudget`` where the queue did not take the job. Raises nothing.
        """
        try:
            return await self._renewing(request, deadline_s)
        except SigningError as error:
            return [error] * len(request.digests)

    async def outcomes_by_id(self, job_id: str, deadline_s: float | None) -> list[Outcome]:
        """The outcomes of a job of which only the id is known: their signatures are not verified."""
        result = decode_result(await self._transport.result_by_id(job_id, deadline_s))
        return await _within(deadline_s, job_id, self._checker.unverified(job_id, result))

    async def _renewing(self, request: SigningRequest, deadline_s: float | None) -> list[Outcome]:
        waits = Backoff(first_s=_FIRST_RENEWAL_S, most_s=_MOST_RENEWAL_S)
        grants = 0
        submission = await self._sealed(request, deadline_s)
        while True:
            try:
                return await self._once(request, submission, deadline_s)
            except JobExpired as error:
                # The service reports it as not signed: the same job continues with new dates.
                renewed = await self._sealed(request, deadline_s)
                if not _outlives(submission, renewed):
                    grants += 1
                    renewed = (
                        await self._sealed(request, deadline_s)
                        if self._is_another_grant_due(submission, error, grants)
                        else await self._renewed_later(request, error, waits.next_s(), deadline_s)
                    )
                submission = renewed
            except EnvelopeExpired as error:
                submission = await self._redated(request, submission, error, waits.next_s(), deadline_s)
            except _REFUSALS_OF_GRANTS as error:
                grants += 1
                if not self._is_another_grant_due(submission, error, grants):
                    raise
                submission = await self._sealed(request, deadline_s)
            except LimitBacklog as error:
                # The queue had the job, and a worker cut it off with the rest of the excess backlog: retry later.
                with self._noted(submission.job_id, error):
                    try:
                        async with asyncio.timeout_at(deadline_s):
                            await asyncio.sleep(wait_after(error))
                    except TimeoutError:
                        raise error from None
                submission = await self._sealed(request, deadline_s)

    def _is_another_grant_due(self, refused: Submission, error: SigningError, tries: int) -> bool:
        """Whether the envelope was under a grant, and another one may be accepted: the refused one is no longer used."""
        grant = refused.envelope.grant
        return grant is not None and tries <= _MOST_GRANTS and self._builder.identity.refused(grant, error)

    async def _sealed(self, request: SigningRequest, deadline_s: float | None) -> Submission:
        """An envelope; while it has to wait for a grant, that is why the job is unanswered."""
        job_id = self._builder.job_id(request)
        self._unsealed[job_id] += 1
        try:
            return await self._builder.seal(request, deadline_s)
        finally:
            self._unsealed[job_id] -= 1
            if not self._unsealed[job_id]:
                del self._unsealed[job_id]

    async def _redated(
        self,
        request: SigningRequest,
        refused: Submission,
        error: EnvelopeExpired,
        wait_s: float,
        deadline_s: float | None,
    ) -> Submission:
        """Another envelope for one that is of the future by a lane's clock. Raises ``EnvelopeExpired`` where none would help."""
        await self._clock.measured_lately()
        if error.retry_after_s is None:
            raise error  # not its date, but the time that it is valid for
        renewed = await self._sealed(request, deadline_s)
        if renewed.envelope.issued_at_ms < refused.envelope.issued_at_ms:
            return renewed  # this host's clock was set, and is now known to be ahead
        if not self._clock.agrees:
            raise self._clock.explained(error) from None
        return await self._renewed_later(request, error, wait_s, deadline_s)

    async def _renewed_later(
        self, request: SigningRequest, error: SigningError, wait_s: float, deadline_s: float | None
    ) -> Submission:
        """Another envelope, after a pause: a clock is wrong. Raises ``EnvelopeExpired`` where it can only be this host's.

        Not where Redis alone held the job for expired: then its clock may be the wrong one, and lanes date by their own.
        """
        await self._clock.measured_lately()
        renewed = await self._sealed(request, deadline_s)
        if error.retry_after_s is None and self._clock.has_passed(renewed.envelope.expires_at_ms):
            raise self._clock.expired_on_arrival() from None
        self._clock.report(error)
        try:
            async with asyncio.timeout_at(deadline_s):
                await asyncio.sleep(wait_s)
        except TimeoutError:
            raise WaitTimeout(self._clock.explanation(error), job_ids=(renewed.job_id,)) from None
        return await self._sealed(request, deadline_s)

    @contextlib.contextmanager
    def _noted(self, job_id: str, error: LimitBacklog) -> Iterator[None]:
        """Within the block the job is cut off. Several requests may wait so at once: equal slices of one run are one job."""
        noted = self._cut_off.setdefault(job_id, [])
        noted.append(error)
        try:
            yield
        finally:
            noted.remove(error)
            if not noted:
                del self._cut_off[job_id]

    async def _once(
        self, request: SigningRequest, submission: Submission, deadline_s: float | None
    ) -> list[Outcome]:
        result = decode_result(await self._transport.result_of(submission, deadline_s))
        job_id = submission.job_id
        checked = self._checker.outcomes(request, submission.content, job_id, result)
        return await _within(deadline_s, job_id, checked)


class PartRunner:
    """Runs requests in as many parts as one grant each takes. ``runner``: of requests that one grant covers."""

    def __init__(self, runner: Runner, builder: EnvelopeBuilder) -> None:
        self._runner = runner
        self._builder = builder

    async def run(self, request: SigningRequest, deadline_s: float | None) -> list[Outcome]:
        """Outcomes as those of ``RequestRunner.run``."""
        try:
            parts = await self._builder.fitting(request, deadline_s)
        except SigningError as error:
            return [error] * len(request.digests)
        if len(parts) == 1:
            return await self._covered(request, deadline_s)
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(self._covered(part, deadline_s)) for part in parts]
        return [outcome for task in running for outcome in task.result()]

    async def _covered(self, part: SigningRequest, deadline_s: float | None) -> list[Outcome]:
        outcomes = await self._runner.run(part, deadline_s)
        if is_too_large(part, outcomes, self._builder.identity.largest_envelope):
            return await self.run(part, deadline_s)
        return outcomes


def is_too_large(request: SigningRequest, outcomes: Sequence[Outcome], most: int) -> bool:
    """Whether a request failed because grants permit fewer digests by now than when it was cut."""
    return len(request.digests) > most and isinstance(outcomes[0], GrantExhausted)


def _outlives(old: Submission, new: Submission) -> bool:
    """Whether the old envelope had expired when the new one was sealed."""
    return new.envelope.issued_at_ms >= old.envelope.expires_at_ms


async def _within(deadline_s: float | None, job_id: str, work: Awaitable[T]) -> T:
    if deadline_s is None:
        return await work
    try:
        async with asyncio.timeout_at(deadline_s):
            return await work
    except TimeoutError:
        raise WaitTimeout(job_ids=(job_id,)) from None
