"""The signer waits and retries for tools, up to its deadline, and reports what failed in the end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from queueing.agent.failures import MAX_KINDS, Failure, FailureLog
from queueing.agent.signer import PatientSigner
from queueing.client.signatures import Signature
from queueing.errors import (
    ConfigError,
    HsmFault,
    LimitBudget,
    PolicyDenied,
    QueueUnavailable,
    SigningError,
    WaitTimeout,
)
from queueing.protocol.algorithms import Algorithm

ECDSA = Algorithm.ECDSA_SHA_256
DIGEST = bytes(32)
SIGNED = Signature(
    signature=b"s",
    algorithm=ECDSA,
    key="release",
    key_version=1,
    public_key_sha256=b"",
    job_id="",
    verified=True,
)


class Client:
    """Answers with the given outcomes, the last one for ever; ``timeouts_s``: as long as it was allowed to take."""

    def __init__(self, *outcomes: Signature | Exception) -> None:
        self.outcomes = list(outcomes)
        self.timeouts_s: list[float] = []

    async def sign(self, key: str, digest: bytes, algorithm: Algorithm, *, timeout_s: float) -> Signature:
        self.timeouts_s.append(timeout_s)
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


class Clock:
    """Time of the event loop, which only a sleep moves; ``slept``: each of them."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: made.now_s)
    monkeypatch.setattr("queueing.agent.signer.asyncio.sleep", made.sleep)
    return made


def failures(log: FailureLog) -> list[tuple[str, str, int]]:
    return [(failure.key, failure.error.reason, count) for failure, count in log.counted()]


async def sign(client: Client, log: FailureLog, deadline_s: float = 60.0) -> Signature:
    return await PatientSigner(client, log, deadline_s=deadline_s).sign("release/1", ECDSA, DIGEST)


async def test_a_retryable_error_is_retried(clock: Clock) -> None:
    """A tool would give up at the first error: the signer does not, and then there is nothing to report."""
    log = FailureLog()
    assert await sign(Client(HsmFault(), QueueUnavailable(), SIGNED), log) is SIGNED
    assert len(clock.slept) == 2
    assert failures(log) == []


async def test_a_denial_is_final(clock: Clock) -> None:
    """It is raised at once, and reported with the key."""
    log, client = FailureLog(), Client(PolicyDenied())
    with pytest.raises(PolicyDenied):
        await sign(client, log)
    assert len(client.timeouts_s) == 1
    assert failures(log) == [("release/1", "policy.denied", 1)]


async def test_the_deadline_ends_the_retries(clock: Clock) -> None:
    """Every try has the time that is left, and the last error is the reported one."""
    log, client = FailureLog(), Client(HsmFault())
    with pytest.raises(HsmFault):
        await sign(client, log, deadline_s=20.0)
    assert clock.now_s <= 120.0
    assert len(client.timeouts_s) > 1
    assert client.timeouts_s == pytest.approx(
        [20.0 - sum(clock.slept[:tries]) for tries in range(len(client.timeouts_s))]
    )
    assert failures(log) == [("release/1", "hsm.fault", 1)]


async def test_the_advice_of_the_service_is_followed(clock: Clock) -> None:
    """``retry_after_s`` decides the pause; where it reaches beyond the deadline, the tool is told at once."""
    assert await sign(Client(LimitBudget(retry_after_s=30.0), SIGNED), FailureLog()) is SIGNED
    assert 30.0 <= clock.slept[0] <= 45.0
    with pytest.raises(LimitBudget):
        await sign(Client(LimitBudget(retry_after_s=3600.0), SIGNED), FailureLog())
    assert len(clock.slept) == 1


async def test_a_wait_that_has_timed_out_is_not_repeated(clock: Clock) -> None:
    """The client has waited to the deadline: there is no time left."""
    client = Client(WaitTimeout())
    with pytest.raises(WaitTimeout):
        await sign(client, FailureLog())
    assert len(client.timeouts_s) == 1


async def test_a_mistake_of_configuration_fails_the_signature_alone(clock: Clock) -> None:
    """Redis refuses the login by now: for the tool the queue is unavailable, and the agent keeps running."""
    log = FailureLog()
    refused = ConfigError("client.toml", "redis.user", "is refused", "Ask the operator.")
    with pytest.raises(SigningError, match="is refused"):
        await sign(Client(refused), log)
    assert failures(log) == [("release/1", "queue.unavailable", 1)]


async def test_waiting_signatures_are_counted(clock: Clock) -> None:
    """The oldest of them says how long tools have been waiting."""

    class Slow(Client):
        async def sign(self, key: str, digest: bytes, algorithm: Algorithm, *, timeout_s: float) -> Signature:
            seen.append((signer.waiting, signer.longest_wait_s(clock.now_s + 5.0)))
            return SIGNED

    seen: list[tuple[int, float]] = []
    signer = PatientSigner(Slow(SIGNED), FailureLog(), deadline_s=60.0)
    await signer.sign("release/1", ECDSA, DIGEST)
    assert seen == [(1, 5.0)]
    assert (signer.waiting, signer.longest_wait_s(clock.now_s)) == (0, 0.0)


async def test_the_oldest_of_several_signatures_says_how_long_tools_wait(clock: Clock) -> None:
    """A signature that began later shortens nothing, and one that ends leaves the others."""

    class Held(Client):
        async def sign(self, key: str, digest: bytes, algorithm: Algorithm, *, timeout_s: float) -> Signature:
            begun.release()
            await ends[key].wait()
            return SIGNED

    begun, ends = asyncio.Semaphore(0), {"old/1": asyncio.Event(), "new/1": asyncio.Event()}
    signer = PatientSigner(Held(SIGNED), FailureLog(), deadline_s=600.0)
    waiting = {}
    for key in ends:
        waiting[key] = asyncio.create_task(signer.sign(key, ECDSA, DIGEST))
        await begun.acquire()
        clock.now_s += 10.0
    assert (signer.waiting, signer.longest_wait_s(clock.now_s)) == (2, 20.0)
    ends["old/1"].set()
    await waiting["old/1"]
    assert (signer.waiting, signer.longest_wait_s(clock.now_s)) == (1, 10.0)
    ends["new/1"].set()
    await waiting["new/1"]


def kinds(count: int) -> Iterator[Failure]:
    for i in range(count):
        yield Failure(key=f"key-{i}", error=PolicyDenied())


def test_equal_failures_are_counted_together() -> None:
    """A build of two thousand files has one line."""
    log = FailureLog()
    for _ in range(2000):
        log.add(Failure(key="release/1", error=PolicyDenied("outside its hours")))
    assert failures(log) == [("release/1", "policy.denied", 2000)]


def test_the_log_of_failures_has_an_end() -> None:
    """Failures that are all different cost no memory without bound."""
    log = FailureLog()
    for failure in kinds(MAX_KINDS + 50):
        log.add(failure)
    assert len(log.counted()) == MAX_KINDS
