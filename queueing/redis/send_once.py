"""Round trip that is never repeated, for commands that must not run twice.

redis-py repeats a pipeline whose answer is late (``RETRIES`` in ``queueing.redis.connection``); a Redis that was only paused
then runs every copy of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from redis.exceptions import BusyLoadingError, ResponseError

from queueing.redis.cluster import ASKING, ClusterRedis
from queueing.redis.command_keys import key_of
from queueing.redis.errors import REDIS_ERRORS, AnswerLost

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio import Redis
    from redis.asyncio.connection import AbstractConnection

Command = tuple[str | bytes | int | float, ...]


async def send_once(redis: Redis, commands: Sequence[Command]) -> list[Any]:
    """The answer of each command, or its ``ResponseError`` in its place. One connection, in order, never repeated.

    Raises ``AnswerLost``. After any other error nothing was run: connecting, which is tried
    again as for every command, did not succeed. In a cluster all that holds for each node, whose error is in the places
    of its commands where another node has answered.
    """
    if not isinstance(redis, ClusterRedis):
        return await send_once_to(redis, commands)

    async def send(node: Redis, positions: Sequence[int], asking: bool) -> list[Any]:  # noqa: FBT001 - as cluster.Send
        return await send_once_to(node, [commands[i] for i in positions], asking=asking)

    return await redis.each_on_its_node([key_of(command) or "" for command in commands], send)


async def send_once_to(redis: Redis, commands: Sequence[Command], *, asking: bool = False) -> list[Any]:
    """The answer of each command of one server, as ``send_once`` gives it. ``asking``: its part of a cluster's slots is being moved to it."""
    if asking:
        return (await send_once_to(redis, [each for command in commands for each in (ASKING, command)]))[1::2]
    pool = redis.connection_pool
    connection = await pool.get_connection()  # replaces one that the server is known to have closed
    try:
        packed = connection.pack_commands(commands)
        try:
            await connection.send_packed_command(packed)
            return [await _answer(connection) for _ in commands]
        except BusyLoadingError:
            raise  # it refuses every command
        except REDIS_ERRORS as error:
            raise AnswerLost(f"{type(error).__name__}: {error}") from error
    finally:
        await pool.release(connection)


async def _answer(connection: AbstractConnection) -> Any:
    """The next answer, or its ``ResponseError``."""
    # After any other error, and after a cancellation, redis-py has closed the connection: no answer is left in it.
    try:
        return await connection.read_response()
    except ResponseError as error:
        return error


class LostAnswers:
    """Servers of which an answer to a command sent once was lost.

    A server that hangs executes each of them when it resumes, so the next one waits for a PING to be answered.
    """

    def __init__(self) -> None:
        self._servers: WeakSet[Redis] = WeakSet()

    async def send(self, redis: Redis, commands: Sequence[Command], *, asking: bool = False) -> list[Any]:
        """``send_once_to``, after a PING where the last answer was lost."""
        if redis in self._servers:
            await redis.ping()
            self._servers.discard(redis)
        try:
            return await send_once_to(redis, commands, asking=asking)
        except AnswerLost:
            self._servers.add(redis)
            raise
