"""A client at a limit: it waits as long as the reply says, and names the limit when its deadline passes."""

from __future__ import annotations

import asyncio

import pytest

from queueing import LimitBacklog, Signature
from queueing.coordination.backlog_caps import publish_caps
from queueing.protocol import keyspace
from queueing.protocol.limits import PublishedCaps
from tests.support.farm.farm import Farm, digests

HANG_S = 60.0


async def cap(farm: Farm, digests: int) -> None:
    await publish_caps(farm.redis, {"acme": PublishedCaps(backlog_digests=digests)})


async def test_a_refused_client_waits_and_gets_all_signed(farm: Farm) -> None:
    """More than the backlog holds is submitted as there is room, and each digest is signed once."""
    await cap(farm, 64)
    async with farm.client() as client:
        outcomes = [o async for o in client.sign_many("release", digests(256), timeout_s=60)]
        assert [type(outcome) for outcome in outcomes] == [Signature] * 256
        assert client.room is not None
        assert client.room.backlog_digests is not None
    assert max(farm.responder.signed.values()) == 1


async def test_the_limit_is_named_when_the_deadline_passes(farm: Farm) -> None:
    """For `sign` and `submit`; nothing of them was accepted."""
    await farm.responder.pause()
    await cap(farm, 64)
    async with farm.client() as client:
        await client.submit("release", digests(64))
        with pytest.raises(LimitBacklog) as caught:
            await client.sign("release", digests(65)[64], timeout_s=0.5)
        assert caught.value.retry_after_s is not None
        with pytest.raises(LimitBacklog):
            await client.submit("release", digests(70)[64:], timeout_s=0.5)
    assert await farm.redis.zcard(keyspace.queue("acme")) == 1


async def test_a_finished_job_returns_its_result_although_the_backlog_is_full(farm: Farm) -> None:
    """A run that starts again is not held up by its own refused rest."""
    async with farm.client() as client:
        first = [o async for o in client.sign_many("release", digests(64), request_id="run", timeout_s=60)]
    await farm.responder.pause()
    await cap(farm, 1)
    async with farm.client() as client:
        await client.submit("release", digests(3, salt="other"))
        again = client.sign_many("release", digests(128), request_id="run", timeout_s=2)
        outcomes = [outcome async for outcome in again]
    assert outcomes[:64] == first
    assert [type(outcome) for outcome in outcomes[64:]] == [LimitBacklog] * 64


async def test_a_job_that_was_cut_off_is_submitted_again(farm: Farm) -> None:
    """A worker refused it because the backlog was far over its cap; the client submits it again until its
    deadline.
    """
    farm.responder.refuse_next = LimitBacklog("too much", retry_after_s=0.1)
    async with farm.client() as client:
        assert isinstance(await client.sign("release", digests(1)[0], timeout_s=60), Signature)
        farm.responder.refuse_next = LimitBacklog("too much", retry_after_s=60.0)
        with pytest.raises(LimitBacklog):
            await client.sign("release", digests(2)[1], timeout_s=0.5)


async def test_calls_of_different_priorities_travel_apart(farm: Farm) -> None:
    """The release is claimed first, although it was submitted last."""
    await farm.responder.pause()
    nightly, release = digests(2)
    async with farm.client() as client:
        one = asyncio.create_task(client.sign("release", nightly, priority="nightly", timeout_s=60))
        async with asyncio.timeout(HANG_S):
            await farm.queued()
        two = asyncio.create_task(client.sign("release", release, priority="release", timeout_s=60))
        async with asyncio.timeout(HANG_S):
            while await farm.redis.zcard(keyspace.queue("acme")) < 2:  # noqa: ASYNC110 - no such event
                await asyncio.sleep(0.001)
        assert await farm.responder.step(most_jobs=1) == 1
        assert isinstance(await two, Signature)
        assert not one.done()
        farm.responder.resume()
        assert isinstance(await one, Signature)
