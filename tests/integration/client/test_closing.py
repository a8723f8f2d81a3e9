"""A client that is closed or cancelled ends its calls with what a caller needs to know, and leaves nothing open."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from queueing import Signature, SigningClient
from queueing.aio.owned_tasks import end_tasks
from queueing.client.delivery.redis_access import RedisAccess
from queueing.client.signatures import Outcome
from queueing.config.redis import RedisConfig
from queueing.coordination.backlog_caps import publish_caps
from queueing.errors import (
    LimitBacklog,
    QueueUnavailable,
    WaitTimeout,
)
from queueing.protocol.key_directory import KeyEntry
from queueing.protocol.limits import PublishedCaps
from tests.support.cancelling import nothing_unclosed
from tests.support.farm.farm import Farm, digests
from tests.support.redis.process import RedisProcess
from tests.support.waiting import until_async

HANG_S = 60.0


async def signed_all(
    client: SigningClient, given: list[bytes], request_id: str | None = None
) -> list[Outcome]:
    return [outcome async for outcome in client.sign_many("release", given, request_id=request_id)]


async def ended(*calls: asyncio.Task[Any]) -> list[BaseException | None]:
    """The errors of these calls; fails if one hangs."""
    async with asyncio.timeout(HANG_S):
        await asyncio.wait(calls)
    return [call.exception() for call in calls]  # CancelledError where one was cancelled


async def test_cancelling_one_call_disturbs_no_other(farm: Farm) -> None:
    """Of two calls in one envelope one is cancelled; the other gets its signature."""
    await farm.responder.pause()
    one, two = digests(2)
    async with farm.client() as client:
        first = asyncio.create_task(client.sign("release", one))
        second = asyncio.create_task(client.sign("release", two))
        async with asyncio.timeout(HANG_S):
            await farm.queued()
        first.cancel()
        farm.responder.resume()
        assert isinstance(await second, Signature)
        assert first.cancelled()


async def test_closing_the_client_ends_its_calls_with_their_job_ids(farm: Farm) -> None:
    """A call that waits when the client is closed ends with WaitTimeout, which carries the job id."""
    await farm.responder.pause()
    async with farm.client() as client:
        waiting = asyncio.create_task(client.sign("release", digests(1)[0]))
        pending = client._open.transport.pending
        await until_async(
            lambda: any((p := pending.get(i)) and p.accepted.done() for i in pending.job_ids()),
            "the queue says that it has the job",
        )
    with pytest.raises(WaitTimeout) as caught:
        await waiting
    assert caught.value.job_ids
    assert not await farm.redis.keys("*reply*")


async def test_closing_the_client_ends_waits_for_jobs_with_their_ids(farm: Farm) -> None:
    """A whole job and a bare id, without deadlines: the caller is not cancelled, and can wait again."""
    await farm.responder.pause()
    async with farm.client() as client:
        job = await client.submit("release", digests(65))
        (bare_id,) = (await client.submit("release", digests(1, salt="bare"))).job_ids
    async with farm.client() as client:
        whole = asyncio.create_task(client.wait(job))
        bare = asyncio.create_task(client.wait(bare_id))
        pending = client._open.transport.pending
        await until_async(
            lambda: all(
                (p := pending.get(i)) and (p.seen or p.accepted.done()) for i in (*job.job_ids, bare_id)
            ),
            "the queue says that it has them",
        )
    errors = await ended(whole, bare)
    assert [e.job_ids for e in errors if isinstance(e, WaitTimeout)] == [job.job_ids, (bare_id,)]


async def test_closing_the_client_ends_a_submit_with_what_held_it_up(farm: Farm) -> None:
    """The queue does not have the job, so the error is the refusal and no WaitTimeout."""
    await farm.responder.pause()
    await publish_caps(farm.redis, {"acme": PublishedCaps(backlog_digests=1)})
    async with farm.client() as client:
        await client.submit("release", digests(1))
        submitting = asyncio.create_task(client.submit("release", digests(2), request_id="r"))
        await until_async(
            lambda: any(j.trouble for j in client._open.transport.pending._waiters), "a refusal"
        )
    (error,) = await ended(submitting)
    assert isinstance(error, LimitBacklog)


async def test_closing_the_client_ends_a_call_that_has_no_directory_yet(farm: Farm) -> None:
    """It ends with QueueUnavailable, and does not use Redis again."""
    await farm.redis.flushdb()
    async with farm.client() as client:
        signing = asyncio.create_task(client.sign("release", digests(1)[0]))
        await asyncio.sleep(0)
    await farm.responder.publish()
    (error,) = await ended(signing)
    assert isinstance(error, QueueUnavailable)
    assert re.search("key directory|client is closed", str(error))  # it has used no connection since


async def test_a_directory_that_comes_while_the_client_closes_sends_nothing(farm: Farm) -> None:
    """The call that fetched it ends with QueueUnavailable, and no job is sent."""
    async with farm.client() as client:
        fetch, fetching = client._open.directory.entry, asyncio.Event()

        async def late(key: str) -> KeyEntry:
            entry = await fetch(key)
            fetching.set()
            await closed.wait()
            return entry

        closed = asyncio.Event()
        client._open.directory.entry = late  # type: ignore[method-assign]
        signing = asyncio.create_task(client.sign("release", digests(1)[0]))
        await fetching.wait()
    closed.set()
    (error,) = await ended(signing)
    assert isinstance(error, QueueUnavailable)
    assert not farm.responder.jobs


async def test_a_closed_client_says_so(farm: Farm) -> None:
    """Every call of a closed client fails with an error that names the cause."""
    async with farm.client() as client:
        job = await client.submit("release", digests(1))
    errors = await ended(
        *(
            asyncio.create_task(call)
            for call in (
                client.sign("release", digests(1)[0]),
                client.submit("release", digests(1)),
                signed_all(client, digests(1)),
                client.wait(job),
                client.wait(job.job_ids[0]),
            )
        )
    )
    assert [str(error) for error in errors] == ["the client is closed"] * 5
    assert all(isinstance(error, QueueUnavailable) for error in errors)


async def test_an_error_in_the_body_passes_unchanged(farm: Farm) -> None:
    """An exception of the caller inside ``async with`` comes out as it is, in no group."""
    with pytest.raises(ZeroDivisionError):
        async with farm.client():
            raise ZeroDivisionError


async def test_a_client_that_is_cancelled_again_while_it_closes_leaves_no_connection(
    own_redis: RedisProcess, farm: Farm
) -> None:
    """While it removes its reply stream from a paused Redis it is cancelled; its pools are closed all the
    same.
    """
    own = RedisConfig(unix_socket=str(own_redis.socket_path))
    used = asyncio.Event()
    clients: list[SigningClient] = []

    async def build() -> None:
        async with farm.client(redis=own) as client:
            clients.append(client)
            await client.sign("release", digests(1)[0])
            used.set()
            await asyncio.Event().wait()

    async with farm.served_by(own):
        building = asyncio.create_task(build())
        await used.wait()
        await farm.responder.pause()
        own_redis.pause()
        try:
            with nothing_unclosed():
                access = clients[0]._open.access
                assert isinstance(access, RedisAccess)
                pools = [one.connection_pool for one in (access._redis, access._blocking)]
                opened = [
                    one for each in pools for one in (*each._available_connections, *each._in_use_connections)
                ]
                assert any(one.is_connected for one in opened)
                await end_tasks([building])  # it cancels until the task has ended
                assert not any(one.is_connected for one in opened)
        finally:
            own_redis.resume()
