"""A signing request from its first submit to its checked outcomes, with a renewed envelope as often as it takes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Iterator
from typing import Final, TypeVar

from queueing.aio.backoff import Backoff, wait_after
from queueing.broker.submit import Submission
from queueing.client.delivery.transport import Transport
from queueing.client.result_checker import ResultChecker
from queueing.client.service_clock import ServiceClock
from queueing.client.signatures import Outcome
from queueing.client.signing_request import EnvelopeBuilder, SigningRequest
from queueing.errors import (
    EnvelopeExpired,
    GrantExhausted,
    GrantExpired,
    JobExpired,
    LimitBacklog,
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

    @property
    def busy(self) -> bool:
        """Whether envelopes are under way."""
        return self._transport.busy

    def job_id(self, request: SigningRequest) -> str:
        """The id that the request's job has or will have."""
        return self._builder.job_id(request)

    def why_unanswered(self, job_id: str) -> SigningError:
        """The error of a caller who gives up on this job."""
        cut_off = self._cut_off.get(job_id)
        return cut_off[-1] if cut_off else self._transport.why_unanswered(job_id)

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
        grants_refused = 0
        submission = await self._builder.seal(request, deadline_s)
        while True:
            try:
                return await self._once(request, submission, deadline_s)
            except JobExpired as error:
                # The service reports it as not signed: the same job continues with new dates.
                renewed = await self._builder.seal(request, deadline_s)
                if not _outlives(submission, renewed):
                    renewed = await self._renewed_later(request, error, waits.next_s(), deadline_s)
                submission = renewed
            except EnvelopeExpired as error:
                submission = await self._redated(request, submission, error, waits.next_s(), deadline_s)
            except (GrantExpired, GrantExhausted):
                grants_refused += 1
                if grants_refused > _MOST_GRANTS or not self._builder.identity.refused(
                    submission.envelope.grant
                ):
                    raise
                submission = await self._builder.seal(request, deadline_s)
            except LimitBacklog as error:
                # The queue had the job, and a worker cut it off with the rest of the excess backlog: retry later.
                with self._noted(submission.job_id, error):
                    try:
                        async with asyncio.timeout_at(deadline_s):
                            await asyncio.sleep(wait_after(error))
                    except TimeoutError:
                        raise error from None
                submission = await self._builder.seal(request, deadline_s)

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
        renewed = await self._builder.seal(request, deadline_s)
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
        renewed = await self._builder.seal(request, deadline_s)
        if error.retry_after_s is None and self._clock.has_passed(renewed.envelope.expires_at_ms):
            raise self._clock.expired_on_arrival() from None
        self._clock.report(error)
        try:
            async with asyncio.timeout_at(deadline_s):
                await asyncio.sleep(wait_s)
        except TimeoutError:
            raise WaitTimeout(self._clock.explanation(error), job_ids=(renewed.job_id,)) from None
        return await self._builder.seal(request, deadline_s)

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
