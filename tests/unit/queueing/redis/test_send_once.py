"""Commands that are sent once: never repeated, each with its own answer, and held back from a server that may hang."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import pytest
from redis.asyncio import Redis
from redis.exceptions import BusyLoadingError, ReadOnlyError, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from queueing.redis.errors import AnswerLost
from queueing.redis.send_once import Command, LostAnswers, send_once, send_once_to

SUBMIT: Command = ("EVALSHA", "abc", 1, "queue")
OTHER: Command = ("PUBLISH", "bell", "x")


class FakeServer:
    """A Redis, its pool and its one connection: gives the answers that the test wants, and notes what it is sent."""

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)
        self.sent: list[list[Command]] = []
        self.pings = 0
        self.unreachable: RedisError | None = None
        self.in_use = 0

    @property
    def connection_pool(self) -> FakeServer:
        return self

    async def get_connection(self) -> FakeServer:
        if self.unreachable is not None:
            raise self.unreachable
        self.in_use += 1
        return self

    async def release(self, _: FakeServer) -> None:
        self.in_use -= 1

    def pack_commands(self, commands: Sequence[Command]) -> list[Command]:
        return list(commands)

    async def send_packed_command(self, commands: list[Command]) -> None:
        self.sent.append(commands)

    async def read_response(self) -> object:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def ping(self) -> None:
        if self.unreachable is not None:
            raise self.unreachable
        self.pings += 1

    @property
    def redis(self) -> Redis:
        return cast("Redis", self)


async def test_each_command_has_its_answer_in_its_place() -> None:
    """In one round trip; the error of one command does not take the answers of the others."""
    refused = ResponseError("WRONGTYPE")
    server = FakeServer(b"done", refused, 3)
    assert await send_once(server.redis, [SUBMIT, OTHER, OTHER]) == [b"done", refused, 3]
    assert server.sent == [[SUBMIT, OTHER, OTHER]]
    assert server.in_use == 0


@pytest.mark.parametrize(
    "error", [RedisTimeoutError("late"), RedisConnectionError("closed"), OSError("reset")]
)
async def test_a_lost_answer_is_told_and_nothing_is_sent_again(error: Exception) -> None:
    """The commands may have run: a repeat might run them twice."""
    server = FakeServer(b"done", error)
    with pytest.raises(AnswerLost, match=str(error)):
        await send_once(server.redis, [SUBMIT, OTHER])
    assert len(server.sent) == 1
    assert server.in_use == 0


async def test_a_server_that_cannot_be_reached_has_run_nothing() -> None:
    """The error is no ``AnswerLost``: the caller may send the commands elsewhere."""
    server = FakeServer()
    server.unreachable = RedisConnectionError("refused")
    with pytest.raises(RedisConnectionError):
        await send_once(server.redis, [SUBMIT])
    assert server.sent == []


async def test_a_server_that_loads_its_data_has_run_nothing() -> None:
    """It refuses every command, and says so."""
    with pytest.raises(BusyLoadingError):
        await send_once(FakeServer(BusyLoadingError("LOADING")).redis, [SUBMIT])


async def test_a_refusal_of_a_demoted_primary_is_the_answer_of_its_command() -> None:
    """READONLY is an answer as any other: the command did not run."""
    refused = ReadOnlyError("READONLY")
    assert await send_once(FakeServer(refused).redis, [SUBMIT]) == [refused]


async def test_asking_goes_before_each_command_and_its_answer_is_left_out() -> None:
    """ASKING counts for one command (Redis Cluster specification, 'ASK redirection')."""
    server = FakeServer(b"OK", b"one", b"OK", b"two")
    assert await send_once_to(server.redis, [SUBMIT, OTHER], asking=True) == [b"one", b"two"]
    assert [str(command[0]).upper() for command in server.sent[0]] == [
        "ASKING",
        "EVALSHA",
        "ASKING",
        "PUBLISH",
    ]


async def test_after_a_lost_answer_the_next_command_waits_for_a_ping() -> None:
    """A server that hangs would run both once it answers again. One answered ping is enough."""
    server, lost = FakeServer(RedisTimeoutError("late"), b"two", b"three"), LostAnswers()
    with pytest.raises(AnswerLost):
        await lost.send(server.redis, [SUBMIT])
    assert await lost.send(server.redis, [SUBMIT]) == [b"two"]
    assert await lost.send(server.redis, [SUBMIT]) == [b"three"]
    assert server.pings == 1


async def test_while_the_ping_has_no_answer_nothing_is_sent() -> None:
    """However often the caller tries; another server is not held up by it."""
    server, other, lost = FakeServer(RedisTimeoutError("late")), FakeServer(b"fine"), LostAnswers()
    with pytest.raises(AnswerLost):
        await lost.send(server.redis, [SUBMIT])
    server.unreachable = RedisTimeoutError("hangs")
    for _ in range(3):
        with pytest.raises(RedisTimeoutError):
            await lost.send(server.redis, [SUBMIT])
    assert len(server.sent) == 1
    assert await lost.send(other.redis, [SUBMIT]) == [b"fine"]
