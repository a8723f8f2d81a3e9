"""Access of a client to its tenant's queue in Redis, with a Redis that answers from a list."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self, cast

import pytest
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, NoPermissionError
from redis.exceptions import ConnectionError as RedisConnectionError

from queueing.broker.hindrance_values import Hindrance
from queueing.broker.job_values import QueuePosition
from queueing.client.delivery import redis_access
from queueing.client.delivery.queue_access import PublishedDirectory, QueueWait
from queueing.client.delivery.redis_access import RedisAccess
from queueing.config.accept_level import ReplicaWait
from queueing.errors import ConfigError, QueueUnavailable
from queueing.protocol import keyspace

TIME = (1_700_000_000, 123_456)


@dataclass
class FakeRedis:
    """Redis and its pipeline: ``answers`` of the commands in one pipeline, or ``fails`` as a whole."""

    answers: list[Any] = field(default_factory=list)
    fails: Exception | None = None
    close_fails: Exception | None = None
    asked: list[str] = field(default_factory=list)
    closed: int = 0

    def pipeline(self, *, transaction: bool) -> FakeRedis:
        assert not transaction
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None: ...

    def get(self, key: str) -> None:
        self.asked.append(key)

    def time(self) -> None:
        self.asked.append("TIME")

    async def execute(self, *, raise_on_error: bool) -> list[Any]:
        assert not raise_on_error
        if self.fails is not None:
            raise self.fails
        return self.answers

    async def aclose(self) -> None:
        self.closed += 1
        if self.close_fails is not None:
            raise self.close_fails


def access_of(
    redis: FakeRedis, blocking: FakeRedis | None = None, wait: ReplicaWait | None = None
) -> RedisAccess:
    return RedisAccess(
        cast("Redis", redis),
        cast("Redis", blocking or FakeRedis()),
        tenant="acme",
        reply_id="reply",
        now_ms=lambda: 0,
        wait=wait,
    )


async def test_the_directory_comes_with_the_clock_of_redis() -> None:
    """Both in one round trip: the clock is that at which the directory was read."""
    redis = FakeRedis([b"sealed", TIME])
    assert await access_of(redis).directory() == PublishedDirectory(b"sealed", 1_700_000_000_123)
    assert redis.asked == [keyspace.directory("acme"), "TIME"]


async def test_a_directory_that_is_not_published_is_none() -> None:
    assert (await access_of(FakeRedis([None, TIME])).directory()).sealed is None


async def test_a_user_who_may_not_ask_the_time_gets_the_directory() -> None:
    """Redis users of earlier versions lack the right; the client does without the clock."""
    redis = FakeRedis([b"sealed", NoPermissionError("no permission to run the 'time' command")])
    assert await access_of(redis).directory() == PublishedDirectory(b"sealed", None)


@pytest.mark.parametrize("whole", [False, True], ids=["one command", "connection"])
async def test_an_outage_of_redis_may_be_retried(whole: bool) -> None:
    """The error names what the client was doing."""
    lost = RedisConnectionError("Connection refused")
    redis = FakeRedis(fails=lost) if whole else FakeRedis([lost, TIME])
    with pytest.raises(QueueUnavailable, match="cannot fetch the key directory") as caught:
        await access_of(redis).directory()
    assert caught.value.retryable
    assert caught.value.__cause__ is lost


@pytest.mark.parametrize(
    "refusal",
    [
        AuthenticationError("invalid username-password pair"),
        NoPermissionError("no permission to access a key"),
    ],
    ids=["login", "right"],
)
async def test_a_refusal_of_redis_is_a_mistake_of_the_configuration(refusal: Exception) -> None:
    """No retry changes it, so the client says so at once."""
    with pytest.raises(ConfigError):
        await access_of(FakeRedis(fails=refusal)).directory()


@pytest.mark.parametrize("sealed", [7, [b"sealed"]])
async def test_an_answer_of_another_shape_is_an_outage(sealed: object) -> None:
    """Of a proxy, or of a server that imitates Redis: it does not end the client."""
    with pytest.raises(QueueUnavailable):
        await access_of(FakeRedis([sealed, TIME])).directory()


async def test_both_pools_are_closed_although_one_fails() -> None:
    """Else the connections of the other would stay open."""
    redis, blocking = FakeRedis(), FakeRedis(close_fails=RedisConnectionError("reset"))
    with pytest.raises(RedisConnectionError):
        await access_of(redis, blocking).aclose()
    assert (redis.closed, blocking.closed) == (1, 1)


@pytest.mark.parametrize("wait, confirms", [(None, False), (ReplicaWait(replicas=1, timeout_s=1.0), True)])
def test_results_are_confirmed_where_replicas_are_waited_for(
    wait: ReplicaWait | None, confirms: bool
) -> None:
    """By the accept level of the client's configuration."""
    assert access_of(FakeRedis(), wait=wait).confirms is confirms


class Places:
    """Answers about the wait of jobs of the tenant ``acme``: as many are in the queue as it says."""

    hindrance = Hindrance(host="sign-1", drained=("acme-1",))

    def __init__(self, queued: int, *, readable: bool = True) -> None:
        self.position = QueuePosition(queued=queued, in_work=1, ahead=None, retry_in_s=None)
        self.asked: list[object] = []
        self._readable = readable

    async def place(self, _: Redis, tenant: str, job_ids: list[str]) -> QueuePosition:
        self.asked.append((tenant, job_ids))
        return self.position

    async def why(self, _: Redis, tenant: str) -> Hindrance:
        self.asked.append(tenant)
        if not self._readable:
            raise QueueUnavailable("NOPERM")
        return self.hindrance


async def queue_wait(places: Places, monkeypatch: pytest.MonkeyPatch) -> QueueWait:
    monkeypatch.setattr(redis_access, "queue_position", places.place)
    monkeypatch.setattr(redis_access, "hindrance_of", places.why)
    return await access_of(FakeRedis()).queue_wait(["a"])


async def test_jobs_in_the_queue_are_told_with_what_hinders_their_tenant(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    places = Places(1)
    assert await queue_wait(places, monkeypatch) == QueueWait(places.position, Places.hindrance)
    assert places.asked == [("acme", ["a"]), "acme"]


async def test_what_hinders_a_tenant_is_not_asked_for_where_no_job_is_in_the_queue(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So a stranger at a relay, who knows no job in the queue, learns nothing of the tenant."""
    places = Places(0)
    assert await queue_wait(places, monkeypatch) == QueueWait(places.position, None)
    assert places.asked == [("acme", ["a"])]


async def test_a_user_who_may_not_read_what_hinders_is_told_the_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    places = Places(1, readable=False)
    assert await queue_wait(places, monkeypatch) == QueueWait(places.position, None)
