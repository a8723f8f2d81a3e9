"""A request that a worker cut off, and the calls of this client that wait for it; nothing here reaches a Redis."""

from __future__ import annotations

import asyncio
import time

import pytest

from queueing.client.delivery.transport import Transport
from queueing.client.epoch_store import EpochStore
from queueing.client.identity.credentials import StaticIdentity
from queueing.client.key_directory_cache import KeyDirectoryCache
from queueing.client.request_runner import RequestRunner
from queueing.client.result_checker import ResultChecker
from queueing.client.service_clock import ServiceClock
from queueing.client.signing_request import EnvelopeBuilder, SigningRequest, Target
from queueing.config.redis import RedisConfig
from queueing.errors import EnvelopeExpired, JobConflict, JobExpired, LimitBacklog, SigningError, WaitTimeout
from queueing.protocol.algorithms import Algorithm
from queueing.protocol.client_keys import ClientKey
from queueing.protocol.envelope import Envelope
from queueing.protocol.jobs import ArqResult, ResultHints, WireError, content_hash, encode_result
from queueing.redis.connection import connect
from tests.support.fakes.queue_access import access_to
from tests.support.waiting import turn

REQUEST = SigningRequest.of(Target("release", 1, Algorithm.ECDSA_SHA_256), [bytes(32)], "build-7")


def now_ms() -> int:
    return 1_800_000_000_000


class RunnerStack:
    """A runner whose loops do not run: the test settles the results that Redis would deliver."""

    def __init__(self) -> None:
        access = access_to(connect(RedisConfig(unix_socket="/nowhere")))
        self.clock = ServiceClock(access, ttl_ms=1_000, now_ms=now_ms)
        self.identity = StaticIdentity("ci", ClientKey.generate())
        self.builder = EnvelopeBuilder(
            audience="a",
            tenant="acme",
            identity=self.identity,
            ttl_ms=1_000,
            reply_id="",
            now_ms=self.clock.envelope_ms,
        )
        directory = KeyDirectoryCache(
            access,
            audience="a",
            tenant="acme",
            pinned=(),
            epochs=EpochStore(None, audience="a", tenant="acme"),
            refresh_s=60.0,
            clock=self.clock,
        )
        self.transport = Transport(access)
        self.runner = RequestRunner(
            self.builder, self.transport, ResultChecker(directory, verify=True), self.clock
        )
        self.job_id = self.builder.job_id(REQUEST)

    def cut_off(self) -> None:
        """The result of a worker that found the backlog far over its cap."""
        self.transport.pending.pushed(
            self.job_id, _failed(self.builder.seal_with(self.identity.held, REQUEST).envelope, self.job_id)
        )


def _failed(envelope: Envelope, job_id: str, error: SigningError | None = None) -> bytes:
    return encode_result(
        ArqResult(
            k=ResultHints(h=content_hash(envelope), again=1),
            et=0,
            s=False,
            r=WireError.of(error or LimitBacklog("too much", retry_after_s=300.0)),
            st=0,
            ft=0,
            q="",
            id=job_id,
        )
    )


async def past_the_deadline(_: float) -> None:
    raise TimeoutError


async def test_a_job_that_expires_before_its_time_is_sent_again_and_told_why_at_the_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A worker's clock is wrong: the service may correct it, so this is no final error."""
    monkeypatch.setattr("queueing.client.service_clock.WAIT_S", 0.0)
    stack = RunnerStack()
    running = asyncio.create_task(stack.runner.run(REQUEST, None))
    await turn()
    monkeypatch.setattr("queueing.client.request_runner.asyncio.sleep", past_the_deadline)
    told = JobExpired("the envelope expired 3.0 h ago, by the clock of the worker's host")
    stack.transport.pending.pushed(
        stack.job_id,
        _failed(stack.builder.seal_with(stack.identity.held, REQUEST).envelope, stack.job_id, told),
    )
    (outcome,) = await running
    assert isinstance(outcome, WaitTimeout)
    assert outcome.message.startswith(told.message)
    assert outcome.job_ids == (stack.job_id,)


YEARS_MS = 3 * 365 * 86_400_000


@pytest.mark.parametrize(
    "told, expected",
    [
        (JobExpired("the job's payload was gone from Redis", retry_after_s=1.0), WaitTimeout),
        (JobExpired("the envelope expired 1095.0 d ago, by the clock of the worker's host"), EnvelopeExpired),
    ],
)
async def test_a_clock_of_redis_that_is_years_ahead_ends_no_request(
    measured: RunnerStack, monkeypatch: pytest.MonkeyPatch, told: JobExpired, expected: type[SigningError]
) -> None:
    """It deletes the payloads, and the jobs are sent again; what a lane holds for expired, too, is this host's clock."""
    running = asyncio.create_task(measured.runner.run(REQUEST, None))
    await turn()
    monkeypatch.setattr("queueing.client.request_runner.asyncio.sleep", past_the_deadline)
    monkeypatch.setattr(measured.clock, "ahead_ms", -YEARS_MS)
    settle_with(measured, told)
    (outcome,) = await running
    assert type(outcome) is expected
    assert "this host's clock is 1095.0 d behind Redis'" in outcome.message


def early(retry_after_s: float | None) -> EnvelopeExpired:
    return EnvelopeExpired("the envelope was issued 60.0 min in the future", retry_after_s=retry_after_s)


def settle_with(stack: RunnerStack, error: SigningError) -> None:
    stack.transport.pending.pushed(
        stack.job_id,
        _failed(stack.builder.seal_with(stack.identity.held, REQUEST).envelope, stack.job_id, error),
    )


@pytest.fixture
async def measured(monkeypatch: pytest.MonkeyPatch) -> RunnerStack:
    """A runner whose clock was compared with Redis' just now, and agrees."""
    stack = RunnerStack()
    monkeypatch.setattr(stack.clock, "_measured_s", time.monotonic())
    return stack


async def test_an_envelope_that_is_early_by_a_workers_clock_only_is_sent_again(
    measured: RunnerStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This host's clock agrees with Redis': other workers sign it, or this one after its repair."""
    running = asyncio.create_task(measured.runner.run(REQUEST, None))
    await turn()
    monkeypatch.setattr("queueing.client.request_runner.asyncio.sleep", past_the_deadline)
    settle_with(measured, early(3600.0))
    (outcome,) = await running
    assert isinstance(outcome, WaitTimeout)
    assert "that of the worker's host may be wrong" in outcome.message


async def test_an_envelope_that_is_early_by_this_hosts_clock_is_dated_back_once_that_is_known(
    measured: RunnerStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock was stepped since the last measurement; what is refused with the right date is final."""
    running = asyncio.create_task(measured.runner.run(REQUEST, None))
    await turn()
    monkeypatch.setattr(measured.clock, "_most_back_ms", 7_200_000)
    monkeypatch.setattr(measured.clock, "ahead_ms", 3_600_000)
    settle_with(measured, early(3600.0))
    await turn()
    assert not running.done()
    settle_with(measured, early(3600.0))
    (outcome,) = await running
    assert isinstance(outcome, EnvelopeExpired)
    assert "this host's clock is 60.0 min ahead of Redis'" in outcome.message


async def test_an_envelope_that_is_valid_for_too_long_is_final_whatever_the_clocks(
    measured: RunnerStack,
) -> None:
    """Its settings are wrong, not a clock."""
    running = asyncio.create_task(measured.runner.run(REQUEST, None))
    await turn()
    settle_with(measured, EnvelopeExpired("the envelope is valid for 9 s, the tenant allows 5"))
    (outcome,) = await running
    assert isinstance(outcome, EnvelopeExpired)
    assert outcome.message == "the envelope is valid for 9 s, the tenant allows 5"


async def test_two_calls_that_wait_for_capacity_for_one_job_end_independently(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two equal slices of one run, or wait() twice: both are retried, and the end of one does not disturb the other."""
    monkeypatch.setattr("queueing.client.request_runner.wait_after", lambda _: 0.0)
    stack = RunnerStack()
    both = [asyncio.create_task(stack.runner.run(REQUEST, None)) for _ in range(2)]
    await turn()
    stack.cut_off()
    await turn()
    job = stack.transport.pending.get(stack.job_id)
    assert job is not None
    stack.transport.pending.settle(job, JobConflict())
    assert [type(outcome) for (outcome,) in await asyncio.gather(*both)] == [JobConflict] * 2


async def test_the_limit_is_the_reason_as_long_as_any_call_waits_for_capacity() -> None:
    """The reason stays ``LimitBacklog`` after the first call gave up, and is ``WaitTimeout`` after the last."""
    stack = RunnerStack()
    first, second = (asyncio.create_task(stack.runner.run(REQUEST, None)) for _ in range(2))
    await turn()
    stack.cut_off()
    await turn()
    first.cancel()
    await asyncio.wait((first,))
    assert isinstance(stack.runner.why_unanswered(stack.job_id), LimitBacklog)
    second.cancel()
    await asyncio.wait((second,))
    assert second.cancelled()
    assert isinstance(stack.runner.why_unanswered(stack.job_id), WaitTimeout)
