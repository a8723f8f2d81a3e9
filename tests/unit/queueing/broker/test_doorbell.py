"""Doorbells over a subscription that the test controls: silence, errors, and the pauses between attempts."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, Self, cast

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoPermissionError

from queueing.aio.backoff import Backoff
from queueing.broker import doorbell
from queueing.broker.doorbell import (
    BELL_BYTES,
    BELLS_PER_S,
    LONGEST_REST_S,
    RECONNECTED,
    SHORTEST_REST_S,
    BellAllowance,
)
from queueing.protocol import keyspace
from tests.support.clocks.fixed_random import FixedRandom

BELL = {"type": "pmessage", "channel": keyspace.doorbell("acme").encode(), "data": b"acme"}
BELLS_CONFIRMED = {"type": "psubscribe", "channel": keyspace.DOORBELL_PATTERN.encode(), "data": 1}
ORDERS_CONFIRMED = {"type": "subscribe", "channel": keyspace.ORDERS_BELL.encode(), "data": 2}
CONFIRMED = (BELLS_CONFIRMED, ORDERS_CONFIRMED)
PONG = {"type": "pong", "channel": None, "data": b""}
SILENCE = None


@dataclass(slots=True)
class FakeRedis:
    """A server and its one subscription: gives the messages in order, then holds the listener for ever."""

    messages: list[dict[str, Any] | Exception | None]
    pings: int = 0
    held: asyncio.Event = field(default_factory=asyncio.Event)

    def pubsub(self) -> Self:
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def psubscribe(self, *_: str) -> None:
        pass

    async def subscribe(self, *_: str) -> None:
        pass

    async def ping(self) -> None:
        self.pings += 1

    async def get_message(self, timeout: float) -> dict[str, Any] | None:
        assert timeout == doorbell.SILENCE_S
        if not self.messages:
            self.held.set()
            await asyncio.Event().wait()
        message = self.messages.pop(0)
        if isinstance(message, Exception):
            raise message
        return message


class Sized(bytes):
    """Bytes that say to be so many."""

    size: int = 0

    @classmethod
    def of(cls, size: int) -> Self:
        made = cls()
        made.size = size
        return made

    def __len__(self) -> int:
        return self.size


@dataclass(slots=True)
class Heard:
    rung: list[str] = field(default_factory=list)
    subscribed: int = 0
    orders: list[bytes] = field(default_factory=list)
    pauses_s: list[float] = field(default_factory=list)


@dataclass(slots=True)
class Clock:
    now_s: float = 1000.0

    def monotonic(self) -> float:
        return self.now_s


async def listened(
    redis: FakeRedis,
    monkeypatch: pytest.MonkeyPatch,
    backoff: Backoff | None = None,
    clock: Clock | None = None,
) -> Heard:
    """Everything that was called until the messages ended; pauses pass at once, and with them the clock."""
    heard, clock = Heard(), clock or Clock()

    async def pause(seconds: float) -> None:
        heard.pauses_s.append(seconds)
        clock.now_s += seconds

    def count() -> None:
        heard.subscribed += 1

    monkeypatch.setattr(asyncio, "sleep", pause)
    monkeypatch.setattr(doorbell, "time", clock)
    listening = asyncio.ensure_future(
        doorbell.listen(
            cast("Redis", redis),
            heard.rung.append,
            count,
            order=heard.orders.append,
            backoff=backoff,
        )
    )
    await redis.held.wait()
    listening.cancel()
    await asyncio.wait((listening,))
    assert listening.cancelled()
    return heard


async def test_bells_and_orders_are_passed_on_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Confirmations, answers to PING and bells of no tenant ring nothing."""
    stray = {"type": "pmessage", "channel": b"elsewhere", "data": b""}
    order = {"type": "message", "channel": keyspace.ORDERS_BELL.encode(), "data": b"signed"}
    redis = FakeRedis([*CONFIRMED, stray, BELL, PONG, order])
    heard = await listened(redis, monkeypatch)
    assert (heard.rung, heard.orders, heard.subscribed, redis.pings) == (["acme"], [b"signed"], 1, 0)


async def test_a_silent_server_that_answers_its_ping_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each silence costs one PING; an answer to it keeps the subscription."""
    redis = FakeRedis([*CONFIRMED, SILENCE, PONG, SILENCE, PONG, BELL])
    heard = await listened(redis, monkeypatch)
    assert (redis.pings, heard.subscribed, heard.rung, heard.pauses_s) == (2, 1, ["acme"], [])


async def test_a_server_that_answers_no_ping_is_subscribed_to_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """After two silences with a PING between them the connection is taken as dead; bells may have been missed."""
    redis = FakeRedis([*CONFIRMED, SILENCE, SILENCE, *CONFIRMED, BELL])
    heard = await listened(redis, monkeypatch)
    assert (redis.pings, heard.subscribed, heard.rung) == (1, 2, ["acme"])
    assert len(heard.pauses_s) == 1


@pytest.mark.parametrize("confirmed", [[], [BELLS_CONFIRMED], [ORDERS_CONFIRMED]])
async def test_a_subscription_holds_once_all_of_it_is_confirmed(
    confirmed: list[dict[str, Any] | Exception | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bell that rings after the command and before Redis has it is heard by no listener: what came until then is claimed."""
    heard = await listened(FakeRedis(confirmed), monkeypatch)
    assert heard.subscribed == 0


async def test_bells_before_the_confirmation_ring_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """The doorbells are confirmed first; the listener claims for all when the orders are confirmed as well."""
    heard = await listened(FakeRedis([BELLS_CONFIRMED, BELL, ORDERS_CONFIRMED]), monkeypatch)
    assert (heard.rung, heard.subscribed) == (["acme"], 1)


async def test_a_connection_that_redis_py_made_again_may_have_missed_bells(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It subscribes again without an error: the confirmations, in whichever order, are all that is seen of it."""
    heard = await listened(FakeRedis([*CONFIRMED, BELL, *reversed(CONFIRMED), BELL]), monkeypatch)
    assert (heard.rung, heard.subscribed, heard.pauses_s) == (["acme", "acme"], 2, [])


async def test_a_flood_of_bells_is_read_at_a_bounded_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """A burst is read at once; then the listener rests, and each bell is heard all the same."""
    clock, burst, more = Clock(), int(BELLS_PER_S), int(10 * SHORTEST_REST_S * BELLS_PER_S)
    heard = await listened(FakeRedis([BELL] * (burst + more)), monkeypatch, clock=clock)
    assert len(heard.rung) == burst + more
    assert clock.now_s - 1000.0 == pytest.approx(more / BELLS_PER_S, abs=SHORTEST_REST_S + 0.01)


def test_a_quiet_hour_allows_no_more_than_a_burst(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rest is long enough for some bells: a worker that is woken for each one would read them at the cost of them all."""
    clock = Clock()
    monkeypatch.setattr(doorbell, "time", clock)
    allowance = BellAllowance()
    clock.now_s += 3600.0
    assert allowance.rest_s(BELLS_PER_S) == 0.0
    assert allowance.rest_s(1.0) == SHORTEST_REST_S
    clock.now_s += SHORTEST_REST_S
    assert allowance.rest_s(1.0) == 0.0


@pytest.mark.parametrize(
    "size_bytes, rests_s",
    [(BELL_BYTES, []), (1024 * BELL_BYTES, []), (512 * 1024 * 1024, [LONGEST_REST_S])],
    ids=["a-bell", "a-megabyte", "the-longest"],
)
async def test_a_long_message_counts_for_many(
    size_bytes: int, rests_s: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis takes 512 MB; the listener rests for a second at the most, and not again for the next bell."""
    heard = await listened(FakeRedis([{**BELL, "data": Sized.of(size_bytes)}, BELL]), monkeypatch)
    assert heard.rung == ["acme", "acme"]
    assert heard.pauses_s[:1] == rests_s


@pytest.mark.parametrize(
    "ends", [[], [RedisConnectionError()]], ids=["made again by redis-py", "told as an error"]
)
async def test_a_subscription_that_ends_again_and_again_claims_for_all_at_a_bounded_rate(
    ends: list[dict[str, Any] | Exception | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis ends it by each message that is longer than its buffer for subscribers."""
    clock, times = Clock(), 10
    at_once = Backoff(first_s=1e-9, most_s=1e-9)
    heard = await listened(FakeRedis([*CONFIRMED, *ends] * times), monkeypatch, at_once, clock)
    assert heard.subscribed == times
    assert clock.now_s - 1000.0 == pytest.approx(times * RECONNECTED / BELLS_PER_S - 1, abs=0.1)


async def test_a_refused_subscription_is_tried_more_and_more_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without the right to the channels gets the command sent, and an error: no claim for all tenants each time."""
    backoff = Backoff(first_s=0.1, most_s=1.0, randomness=FixedRandom(1.0, 1.0, 1.0))
    redis = FakeRedis([NoPermissionError(), NoPermissionError(), NoPermissionError()])
    heard = await listened(redis, monkeypatch, backoff)
    assert (heard.subscribed, heard.pauses_s) == (0, [0.1, 0.2, 0.4])


async def test_pauses_are_spread_by_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that lost the same Redis do not all come back in one moment."""
    backoff = Backoff(first_s=1.0, most_s=1.0, randomness=FixedRandom(0.0, 1.0))
    redis = FakeRedis([RedisConnectionError(), RedisConnectionError()])
    heard = await listened(redis, monkeypatch, backoff)
    assert heard.pauses_s == [0.5, 1.0]
