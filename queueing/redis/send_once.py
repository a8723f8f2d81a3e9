"""Round trip that is never repeated, for commands that must not run twice.

redis-py repeats a pipeline whose answer is late (``RETRIES`` in ``queueing.redis.connection``); a Redis that was only paused
then runs every copy of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redis.exceptions import BusyLoadingError, ResponseError

from queueing.redis.errors import REDIS_ERRORS, AnswerLost

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio import Redis
    from redis.asyncio.connection import AbstractConnection

Command = tuple[str | bytes | int | float, ...]


async def send_once(redis: Redis, commands: Sequence[Command]) -> list[Any]:
    """The answer of each command, or its ``ResponseError`` in its place. One connection, in order, never repeated.

    Raises ``AnswerLost``. After any other error nothing was run: connecting, which is tried
    again as for every command, did not succeed.
    """
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
    """After any other error, and after a cancellation, redis-py has closed the connection: no answer is left in it."""
    try:
        return await connection.read_response()
    except ResponseError as error:
        return error
