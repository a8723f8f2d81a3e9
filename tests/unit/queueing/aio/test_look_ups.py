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

    def getaddrinfo(self, host: str, port: None, *, type: int) -> list[object]:  # noqa: A002 - socket's
        assert (port, type) == (None, socket.SOCK_STREAM)
        self.asked.append(host)
        if host == "redis.silent":
            self.may_answer.wait(PATIENCE_S)
        if host == "redis.unknown":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        places: list[object] = [("::1", 0, 0, 0), ("127.0.0.1", 0), ("127.0.0.1", 0)]
        return [(socket.AF_UNSPEC, type, 0, "", place) for place in places]


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolver]:
    made = Resolver()
    monkeypatch.setattr("queueing.aio.look_ups.socket.getaddrinfo", made.getaddrinfo)
    yield made
    made.may_answer.set()


async def test_those_who_wait_for_a_name_share_its_look_up(resolver: Resolver) -> None:
    """Also those who come when others have given up: each try would take a thread for half a minute."""
    look_ups = LookUps()
    first = [asyncio.create_task(look_ups.addresses("redis.silent")) for _ in range(8)]
    await until_async(lambda: bool(resolver.asked), "the name is looked up")
    for each in first:
        each.cancel()
    await asyncio.wait(first)
    later = [asyncio.create_task(look_ups.addresses("redis.silent")) for _ in range(8)]
    await look_ups.addresses("redis.other")
    assert resolver.asked == ["redis.silent", "redis.other"]
    resolver.may_answer.set()
    await asyncio.gather(*later)
    assert all(each.cancelled() for each in first)


async def test_the_addresses_of_a_name_are_in_the_resolvers_order(resolver: Resolver) -> None:
    """Each once: the first one is what the host's rules prefer (RFC 6724)."""
    assert await LookUps().addresses("redis.other") == ["::1", "127.0.0.1"]
    assert resolver.asked == ["redis.other"]


async def test_a_name_is_looked_up_again_for_the_next_connection(resolver: Resolver) -> None:
    """Its address may be another one by now: nothing is kept."""
    look_ups = LookUps()
    for _ in range(2):
        await look_ups.addresses("redis.other")
    assert resolver.asked == ["redis.other"] * 2


async def test_the_resolvers_error_is_raised_to_each_who_waits(resolver: Resolver) -> None:
    """As a connection raises it; redis-py makes its own error of it."""
    look_ups = LookUps()
    ends = await asyncio.gather(
        *(look_ups.addresses("redis.unknown") for _ in range(2)), return_exceptions=True
    )
    assert [type(end) for end in ends] == [socket.gaierror] * 2
    assert resolver.asked == ["redis.unknown"]


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "fe80::1%eth0"])
async def test_an_address_is_not_looked_up(resolver: Resolver, address: str) -> None:
    """It takes no thread."""
    assert await LookUps().addresses(address) == [address]
    assert resolver.asked == []


def test_a_look_up_of_a_loop_that_has_ended_is_not_waited_for(resolver: Resolver) -> None:
    """The next loop has one of its own."""
    look_ups = LookUps()

    async def give_up() -> None:
        waiting = asyncio.create_task(look_ups.addresses("redis.silent"))
        await until_async(lambda: bool(resolver.asked), "the name is looked up")
        waiting.cancel()
        await asyncio.wait([waiting])

    async def again() -> None:
        resolver.may_answer.set()
        await look_ups.addresses("redis.silent")

    asyncio.run(give_up())
    asyncio.run(again())
    assert resolver.asked == ["redis.silent"] * 2
