"""Limits and the end of a relay, as a caller sees them: 429 and 503 with a time, and an answer for each that waits."""

from __future__ import annotations

import asyncio

import pytest

from queueing import SigningClient
from queueing.client.delivery import relay_messages as messages
from queueing.errors import LimitBacklog
from queueing.protocol import keyspace
from tests.support.farm.farm import Farm, digests
from tests.support.relay.envelopes import envelope
from tests.support.relay.relay_process import RelayProcess
from tests.support.waiting import until, until_async


@pytest.fixture
def tables() -> str:
    """Two clients may wait."""
    return "[limits]\nwaiting_clients = 2\n"


def post(path: str, message: object, *, close: bool = True) -> bytes:
    body = messages.encoded(message)
    connection = "Connection: close\r\n" if close else ""
    return (
        f"POST {path} HTTP/1.1\r\nHost: relay\r\n{connection}Content-Length: {len(body)}\r\n\r\n".encode()
        + body
    )


def head_of(answer: bytes) -> tuple[int, str]:
    """Status, and the headers in lower case."""
    head = answer.partition(b"\r\n\r\n")[0].decode().lower()
    return int(head.split(" ", 2)[1]), head


async def test_a_full_backlog_is_429_with_a_time(farm: Farm, relay: RelayProcess) -> None:
    """A client waits for that time, until its deadline, and does not ask again before it; what was accepted before stays."""
    await farm.responder.pause()
    await farm.redis.hset(keyspace.caps("acme"), "digests", "64")  # type: ignore[misc]  # redis-py's union
    accepted = await relay.exchange(post(messages.JOBS, messages.SubmitRequest("acme", (envelope(farm, 1),))))
    assert head_of(accepted)[0] == 200
    refused = await relay.exchange(post(messages.JOBS, messages.SubmitRequest("acme", (envelope(farm, 2),))))
    status, head = head_of(refused)
    assert status == 429
    assert "\r\nretry-after: " in head
    repeated = await relay.exchange(post(messages.JOBS, messages.SubmitRequest("acme", (envelope(farm, 1),))))
    assert (
        messages.decoded(repeated.partition(b"\r\n\r\n")[2], messages.SubmitAnswer).replies[0].status
        == "queued"
    )
    async with SigningClient(relay.client_config(farm.config), farm.key) as client:
        with pytest.raises(LimitBacklog):
            await client.submit("release", digests(64, salt="3"), timeout_s=0.5)
    assert relay.metric('sigmill_relay_requests_total{endpoint="jobs",outcome="limited"}') == 2
    await farm.redis.delete(keyspace.caps("acme"))


def two_wait(relay: RelayProcess) -> None:
    """Wait until two clients wait at the relay."""
    until(lambda: relay.metric("sigmill_relay_waiting_clients") == 2, "two clients wait")


async def test_waiting_clients_are_shed_and_answered_at_the_end(farm: Farm, relay: RelayProcess) -> None:
    """The third of two is told when to come back; at SIGTERM those that wait are answered, and the relay ends in order."""
    await farm.responder.pause()
    async with farm.client() as direct:
        job = await direct.submit("release", digests(1), request_id="waits")
    poll = post(
        messages.RESULTS, messages.PollRequest("acme", job.job_ids, messages.MOST_WAIT_MS), close=False
    )

    async def wait() -> bytes:
        """Poll again whenever a poll ends before the relay does; its last answer."""
        while "connection: close" not in head_of(answer := await relay.exchange(poll))[1]:
            continue
        return answer

    waiting = [asyncio.create_task(wait()) for _ in range(2)]
    await asyncio.to_thread(two_wait, relay)
    head = ""
    while not head.startswith(
        "HTTP/1.1 503"
    ):  # where one of the two has just ended a poll, this one waits in its place
        head = (await relay.exchange(poll)).partition(b"\r\n\r\n")[0].decode()
    assert "\r\nretry-after: " in head.lower()
    assert relay.metric('sigmill_relay_shed_total{cause="waiting"}') >= 1
    await asyncio.to_thread(two_wait, relay)
    assert await asyncio.to_thread(relay.stop) == 0
    for answer in await asyncio.wait_for(asyncio.gather(*waiting), 20.0):
        status, head = head_of(answer)
        assert (status, "connection: close" in head) == (200, True)
        found = messages.decoded(answer.partition(b"\r\n\r\n")[2], messages.PollAnswer)
        assert (found.results, found.unknown) == ({}, ())
    assert [event for event in relay.events() if event != "relay.shedding"] == [
        "relay.started",
        "relay.draining",
        "relay.stopped",
    ]


async def test_without_redis_a_request_is_503(farm: Farm, relay: RelayProcess) -> None:
    """With a time and a code: a client waits and tries again, and signs once the relay reaches Redis."""
    relay.stop()
    redis, relay.redis = relay.redis, 'unix_socket = "/nowhere/redis.sock"'
    relay.start()
    answer = await relay.exchange(post(messages.JOBS, messages.SubmitRequest("acme", (envelope(farm, 1),))))
    status, head = head_of(answer)
    assert status == 503
    assert "\r\nretry-after: " in head
    assert b'"queue.unavailable"' in answer
    assert relay.metric('sigmill_relay_requests_total{endpoint="jobs",outcome="unavailable"}') == 1
    refused = 'sigmill_relay_requests_total{endpoint="directory",outcome="unavailable"}'
    async with SigningClient(relay.client_config(farm.config), farm.key) as client:
        signing = asyncio.create_task(client.sign("release", digests(1)[0], timeout_s=60.0))
        await until_async(lambda: relay.metric(refused) >= 2, "the client has tried again")
        assert not signing.done()
        relay.stop()
        relay.redis = redis
        relay.start()
        assert (await signing).verified
