"""Look-ups of names that the resolver answers late, or not at all."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator

import pytest

from queueing.aio.look_ups import LookUps
from tests.support.waiting import until_async

PATIENCE_S = 60.0


class Resolver:
    """Resolver that answers for a name once it may; ``asked`` are the look-ups, in order."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.may_answer = threading.Event()

    def getaddrinfo(self, host: str, port: int) -> list[object]:
        del port
        self.asked.append(host)
        if host == "redis.silent":
            self.may_answer.wait(PATIENCE_S)
        if host == "redis.unknown":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return []


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolver]:
    made = Resolver()
    monkeypatch.setattr("queueing.aio.look_ups.socket.getaddrinfo", made.getaddrinfo)
    yield made
    made.may_answer.set()


async def test_those_who_wait_for_a_name_share_its_look_up(resolver: Resolver) -> None:
    """Also those who come when others have given up: each try would take a thread for half a minute."""
    look_ups = LookUps()
    first = [asyncio.create_task(look_ups.wait("redis.silent", 6379)) for _ in range(8)]
    await until_async(lambda: bool(resolver.asked), "the name is looked up")
    for each in first:
        each.cancel()
    await asyncio.wait(first)
    later = [asyncio.create_task(look_ups.wait("redis.silent", 6379)) for _ in range(8)]
    await look_ups.wait("redis.other", 6379)
    assert resolver.asked == ["redis.silent", "redis.other"]
    resolver.may_answer.set()
    await asyncio.gather(*later)
    assert all(each.cancelled() for each in first)


async def test_a_name_is_looked_up_again_for_the_next_connection(resolver: Resolver) -> None:
    """Its address may be another one by now: nothing is kept."""
    look_ups = LookUps()
    for _ in range(2):
        await look_ups.wait("redis.other", 6379)
    assert resolver.asked == ["redis.other"] * 2


async def test_the_resolvers_error_is_raised_to_each_who_waits(resolver: Resolver) -> None:
    """As a connection raises it; redis-py makes its own error of it."""
    look_ups = LookUps()
    ends = await asyncio.gather(
        *(look_ups.wait("redis.unknown", 6379) for _ in range(2)), return_exceptions=True
    )
    assert [type(end) for end in ends] == [socket.gaierror] * 2
    assert resolver.asked == ["redis.unknown"]


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "fe80::1%eth0"])
async def test_an_address_is_not_looked_up(resolver: Resolver, address: str) -> None:
    """It takes no thread."""
    await LookUps().wait(address, 6379)
    assert resolver.asked == []


def test_a_look_up_of_a_loop_that_has_ended_is_not_waited_for(resolver: Resolver) -> None:
    """The next loop has one of its own."""
    look_ups = LookUps()

    async def give_up() -> None:
        waiting = asyncio.create_task(look_ups.wait("redis.silent", 6379))
        await until_async(lambda: bool(resolver.asked), "the name is looked up")
        waiting.cancel()
        await asyncio.wait([waiting])

    async def again() -> None:
        resolver.may_answer.set()
        await look_ups.wait("redis.silent", 6379)

    asyncio.run(give_up())
    asyncio.run(again())
    assert resolver.asked == ["redis.silent"] * 2
