"""A request that a worker cut off, and the calls of this client that wait for it; nothing here reaches a Redis."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, cast

import pytest

from queueing.aio.owned_tasks import OwnedTasks
from queueing.broker.submissions import SubmitStatus
from queueing.client.delivery.transport import Transport
from queueing.client.epoch_store import EpochStore
from queueing.client.identity.credentials import ClientIdentity, Credential, StaticIdentity
from queueing.client.key_directory_cache import KeyDirectoryCache
from queueing.client.request_runner import PartRunner, RequestRunner
from queueing.client.result_checker import ResultChecker
from queueing.client.service_clock import ServiceClock
from queueing.client.signatures import Outcome
from queueing.client.signing_request import EnvelopeBuilder, SigningRequest, Target
from queueing.client.single_calls import SingleCalls
from queueing.config.redis import RedisConfig
from queueing.errors import (
    ClientRevoked,
    EnvelopeExpired,
    GrantExhausted,
    GrantExpired,
    GrantRefused,
    HsmFault,
    IdentityRefused,
    IdentityUnavailable,
    IssuerUnavailable,
    JobConflict,
    JobExpired,
    LimitBacklog,
    PolicyDenied,
    QueueUnavailable,
    SigningError,
    WaitTimeout,
)
from queueing.protocol.algorithms import Algorithm
from queueing.protocol.client_keys import ClientKey
from queueing.protocol.envelope import MAX_DIGESTS, Envelope
from queueing.protocol.jobs import ArqResult, ResultHints, WireError, content_hash, encode_result
from queueing.redis.connection import connect
from tests.support.fakes.grants import sealed_grant
from tests.support.fakes.queue_access import access_to
from tests.support.waiting import turn

if TYPE_CHECKING:
    from queueing.client.single_calls import ReceiptSource

REQUEST = SigningRequest.of(Target("release", 1, Algorithm.ECDSA_SHA_256), [bytes(32)], "build-7")


def now_ms() -> int:
    return 1_800_000_000_000


class Grants:
    """Identity by grants of so many digests; ``held``: no grant before it is set. ``others``: whether another one may be had."""

    def __init__(self, *, most: int = MAX_DIGESTS) -> None:
        self.largest_envelope = most
        self.made = 0
        self.others = True
        self.held: asyncio.Event | None = None
        self.why: SigningError | None = None
        self._key = ClientKey.generate()

    async def ready(self, deadline_s: float | None) -> None:
        pass

    async def credential(self, digests: int, deadline_s: float | None) -> Credential:
        if self.held is not None:
            await self.held.wait()
        self.made += 1
        grant = sealed_grant(grant_id=self.made.to_bytes(16))
        return Credential(
            client="ci", signer=self._key, owner="ci", grant=grant, expires_ms=now_ms() + 1_000 * self.made
        )

    def trouble(self) -> SigningError | None:
        return self.why

    def refused(self, grant: bytes | None, error: SigningError) -> bool:
        return self.others

    async def run(self) -> None:
        pass


class RunnerStack:
    """A runner whose loops do not run: the test settles the results that Redis would deliver."""

    def __init__(self, identity: ClientIdentity | None = None) -> None:
        access = access_to(connect(RedisConfig(unix_socket="/nowhere")))
        self.clock = ServiceClock(access, ttl_ms=1_000, now_ms=now_ms)
        self.identity = StaticIdentity("ci", ClientKey.generate())
        self.builder = EnvelopeBuilder(
            audience="a",
            tenant="acme",
            identity=identity or self.identity,
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


async def test_two_calls_that_wait_for_capacity_for_one_job_both_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two equal slices of one run, or wait() twice: both are retried, and both get the outcome."""
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


def settle_newest(stack: RunnerStack, error: SigningError, request: SigningRequest = REQUEST) -> Envelope:
    """Settle the request's job with this error; its envelope."""
    job = stack.transport.pending.get(stack.builder.job_id(request))
    assert job is not None
    assert job.submission is not None
    envelope = job.submission.envelope
    stack.transport.pending.pushed(job.job_id, _failed(envelope, job.job_id, error))
    return envelope


@pytest.mark.parametrize(
    "error",
    [
        GrantExhausted(), GrantExpired(), GrantRefused(), ClientRevoked(), PolicyDenied(),
        JobExpired("the envelope expired 0.1 min ago, by the clock of the worker's host"),
    ],
    ids=lambda error: error.reason,
)  # fmt: skip
async def test_a_request_is_sent_again_under_another_grant_at_once(error: SigningError) -> None:
    """No pause, and no more than three further grants: a service that refuses each is not asked for ever."""
    stack = RunnerStack(Grants())
    running = asyncio.create_task(stack.runner.run(REQUEST, None))
    grants = []
    for _ in range(3):
        await turn()
        grants.append(settle_newest(stack, error).grant)
    await turn()
    assert len(set(grants)) == 3
    assert not running.done()
    grants.append(settle_newest(stack, PolicyDenied("rule `window`")).grant)
    (outcome,) = await running
    assert isinstance(outcome, PolicyDenied)
    assert len(set(grants)) == 4


async def test_a_refusal_is_told_where_another_grant_would_meet_it_too() -> None:
    """And to a client with a key of its own."""
    grants = Grants()
    grants.others = False
    for stack in (RunnerStack(grants), RunnerStack()):
        running = asyncio.create_task(stack.runner.run(REQUEST, None))
        await turn()
        settle_newest(stack, PolicyDenied("rule `window`"))
        (outcome,) = await running
        assert isinstance(outcome, PolicyDenied)


async def test_a_call_that_waits_for_a_grant_is_told_why_there_is_none() -> None:
    """No job is under way, so that no id of one is told."""
    grants = Grants()
    grants.held = asyncio.Event()
    stack = RunnerStack(grants)
    running = asyncio.create_task(stack.runner.run(REQUEST, None))
    await turn()
    assert isinstance(stack.runner.why_unanswered(stack.job_id), IdentityUnavailable)
    grants.why = IssuerUnavailable("no route")
    assert stack.runner.why_unanswered(stack.job_id).message == "no route"
    grants.held.set()
    await turn()
    assert isinstance(stack.runner.why_unanswered(stack.job_id), QueueUnavailable)
    running.cancel()


async def test_a_client_that_is_closed_while_a_call_waits_for_a_grant_names_no_job() -> None:
    """None was sent; a job that the queue has is named."""
    grants = Grants()
    grants.held = asyncio.Event()
    stack = RunnerStack(grants)
    tasks = OwnedTasks()
    await tasks.open()
    calls = SingleCalls(stack.runner, tasks, linger_s=0.0, receipts=cast("ReceiptSource", None))
    waiting = asyncio.create_task(calls.sign(REQUEST.target, bytes(32), None))
    await turn()
    calls.close()
    with pytest.raises(IdentityUnavailable, match="the client was closed before there was a grant"):
        await waiting
    grants.held = None
    sent = asyncio.create_task(calls.sign(REQUEST.target, bytes(32), None))
    await turn()
    (job_id,) = stack.transport.pending.job_ids()
    job = stack.transport.pending.get(job_id)
    assert job is not None
    stack.transport.pending.accept(job, SubmitStatus.ACCEPTED)
    calls.close()
    with pytest.raises(WaitTimeout) as raised:
        await sent
    assert raised.value.job_ids == (job_id,)
    await tasks.close()


class Sizes:
    """A runner that signs nothing and notes what it was given; ``covered``: above it the grant is used up."""

    def __init__(self, grants: Grants, covered: int) -> None:
        self.grants = grants
        self.covered = covered
        self.given: list[SigningRequest] = []

    async def run(self, request: SigningRequest, deadline_s: float | None) -> list[Outcome]:
        self.given.append(request)
        await turn()
        if len(request.digests) > self.covered:
            self.grants.largest_envelope = self.covered
            return [GrantExhausted()] * len(request.digests)
        return [HsmFault(digest.hex()) for digest in request.digests]


@pytest.mark.parametrize(
    "most, covered, sizes",
    [(64, 64, [5]), (2, 2, [2, 2, 1]), (64, 3, [5, 3, 2]), (4, 1, [4, 1, 1, 1, 1, 1])],
    ids=["one", "three", "a cap that was lowered meanwhile", "and once more"],
)
async def test_a_request_runs_in_parts_that_a_grant_covers(most: int, covered: int, sizes: list[int]) -> None:
    """The outcomes come in the order of the digests."""
    digests = [bytes([i]) * 32 for i in range(5)]
    whole = SigningRequest.of(REQUEST.target, digests, "build-7")
    grants = Grants(most=most)
    sizing = Sizes(grants, covered)
    outcomes = await PartRunner(sizing, RunnerStack(grants).builder).run(whole, None)
    assert [o.message for o in outcomes if isinstance(o, SigningError)] == [d.hex() for d in digests]
    assert sorted(len(part.digests) for part in sizing.given) == sorted(sizes)
    assert len({part.idempotency_key for part in sizing.given}) == len(sizes)


async def test_a_request_that_no_grant_covers_fails() -> None:
    """It is used up on every host, not too small."""
    sizing = Sizes(Grants(), 0)
    (outcome,) = await PartRunner(sizing, RunnerStack(Grants(most=64)).builder).run(REQUEST, None)
    assert isinstance(outcome, GrantExhausted)


async def test_a_refused_identity_fails_every_digest() -> None:
    """Before anything is submitted."""
    grants = Grants()

    async def refuse(_: float | None) -> None:
        raise IdentityRefused("claim `ref`")

    grants.ready = refuse  # type: ignore[method-assign, assignment]
    sizing = Sizes(grants, 64)
    (outcome,) = await PartRunner(sizing, RunnerStack(grants).builder).run(REQUEST, None)
    assert isinstance(outcome, IdentityRefused)
    assert not sizing.given
