"""Lua scripts by name: many calls in one pipeline, and loaded again where Redis lost them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import NoPermissionError, NoScriptError, ReadOnlyError, RedisError

from queueing.protocol import keyspace
from queueing.redis import send_once as round_trip
from queueing.redis.connection import look_for_primary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio import Redis

    from queueing.config.accept_level import ReplicaWait


class Script(StrEnum):
    """The scripts, by file name; each file's head states its keys, arguments, answer and cost."""

    SUBMIT = "submit"
    CLAIM = "claim"
    COMMIT = "commit"
    EXTEND = "extend"
    NACK = "nack"
    REQUEUE = "requeue"
    REGISTER_WORKER = "register_worker"


@dataclass(frozen=True, slots=True)
class ScriptCall:
    """One call of a script: its keys, which share one hash slot, and its arguments."""

    script: Script
    keys: tuple[str, ...]
    args: tuple[str | bytes | int | float, ...]


def _text(name: str) -> str:
    return resources.files("queueing.redis").joinpath(f"lua/{name}.lua").read_text("utf-8")


_BEFORE: Final[dict[Script, tuple[str, ...]]] = {
    Script.SUBMIT: ("msgpack_hints", "counters"),
    Script.CLAIM: ("msgpack_hints", "counters"),
    Script.COMMIT: ("counters",),
    Script.EXTEND: (),
    Script.NACK: ("counters",),
    Script.REQUEUE: ("counters",),
    Script.REGISTER_WORKER: (),
}
"""The files put before each script: functions that it calls. Tenants' ACLs name the submit script by its SHA-1: every
change of its text, or of these, locks clients out until their Redis users are set again."""

_SOURCES: Final[dict[Script, str]] = {
    script: "".join(_text(name) for name in (*_BEFORE[script], script)) for script in Script
}
_DIGESTS: Final[dict[Script, str]] = {
    script: hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
    for script, source in _SOURCES.items()
}


def digest_of(script: Script) -> str:
    """The SHA-1 by which Redis knows the script."""
    return _DIGESTS[script]


async def load(redis: Redis) -> None:
    """Load every script: one round trip. Needed by roles that may EVALSHA but not EVAL."""
    async with redis.pipeline(transaction=False) as pipe:
        for source in _SOURCES.values():
            pipe.script_load(source)
        await pipe.execute()


async def run_each(redis: Redis, calls: Sequence[ScriptCall]) -> list[Any]:
    """Run the calls in one round trip; the answer of each, or its ``RedisError`` in its place.

    Scripts that Redis does not have (a restart, a failover, SCRIPT FLUSH) are loaded and only those calls
    run again. Raises ``RedisError`` when the round trip itself fails: what was run is then unknown.
    """
    answers, _ = await run_confirmed(redis, calls, None)
    return answers


async def run_confirmed(
    redis: Redis, calls: Sequence[ScriptCall], wait: ReplicaWait | None, *, once: bool = False
) -> tuple[list[Any], bool]:
    """Run the calls with a ``WAIT`` in the same round trip: the answers, and whether enough replicas have all writes.

    That holds for a call too that found everything as it should be and wrote nothing: what it saw was written before.
    Where they do not, or where this server is a replica itself, the primary may have moved: it is looked up again.
    ``once``: no call is sent again when its answer is lost, but ``AnswerLost`` raised.
    """
    answers, confirmed = await _round(redis, calls, wait, once=once)
    missing = [i for i, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
    if missing:
        await load(redis)
        again, confirmed_again = await _round(redis, [calls[i] for i in missing], wait, once=once)
        confirmed &= confirmed_again
        for i, answer in zip(missing, again, strict=True):
            answers[i] = answer
    if not confirmed or any(isinstance(answer, ReadOnlyError) for answer in answers):
        await look_for_primary(redis)
    return answers, confirmed


async def _round(
    redis: Redis, calls: Sequence[ScriptCall], wait: ReplicaWait | None, *, once: bool
) -> tuple[list[Any], bool]:
    """One connection, so that WAIT, which comes last, means the calls before it (``ReplicaWait``)."""
    commands: list[round_trip.Command] = [
        ("EVALSHA", _DIGESTS[call.script], len(call.keys), *call.keys, *call.args) for call in calls
    ]
    if wait is not None:
        commands += wait.commands(keyspace.mark_beside(calls[-1].keys[0]))
    answers = await (round_trip.send_once(redis, commands) if once else _pipeline(redis, commands))
    if wait is None:
        return answers, True
    *answers, marked, replicas = answers
    for answer in (marked, replicas):
        if isinstance(answer, NoPermissionError):
            raise answer  # not a question of time
    # Where the mark was refused (no memory left, a replica), WAIT was about some write before it.
    written = not isinstance(marked, RedisError)
    return answers, written and isinstance(replicas, int) and replicas >= wait.replicas


async def _pipeline(redis: Redis, commands: Sequence[round_trip.Command]) -> list[Any]:
    async with redis.pipeline(transaction=False) as pipe:
        for command in commands:
            pipe.execute_command(*command)
        return await pipe.execute(raise_on_error=False)
