"""Lua scripts by name: many calls in one pipeline, and loaded again where Redis lost them."""

from __future__ import annotations

import hashlib
import pkgutil
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import NoPermissionError, NoScriptError, ReadOnlyError, RedisError

from queueing.protocol import keyspace
from queueing.redis.cluster import ASKING, ClusterRedis
from queueing.redis.connection import look_for_primary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio import Redis

    from queueing.config.accept_level import ReplicaWait
    from queueing.redis.send_once import Command, LostAnswers


class Script(StrEnum):
    """The scripts, by file name; each file's head states its keys, arguments, answer and cost."""

    SUBMIT = "submit"
    CLAIM = "claim"
    CANCEL = "cancel"
    COMMIT = "commit"
    EXTEND = "extend"
    NACK = "nack"
    REQUEUE_DEAD_LETTER = "requeue_dead_letter"
    REGISTER_WORKER = "register_worker"
    REPLACE_RECORD_HEAD = "replace_record_head"


@dataclass(frozen=True, slots=True)
class ScriptCall:
    """One call of a script: its keys, at least one, which share one hash slot, and its arguments."""

    script: Script
    keys: tuple[str, ...]
    args: tuple[str | bytes | int | float, ...]


def _text(name: str) -> str:
    found = pkgutil.get_data(
        "queueing.redis", f"lua/{name}.lua"
    )  # importlib.resources takes ten milliseconds to load
    assert found is not None
    return found.decode("utf-8")


_BEFORE: Final[dict[Script, tuple[str, ...]]] = {
    Script.SUBMIT: ("msgpack_hints", "counters"),
    Script.CLAIM: ("reads", "msgpack_hints", "counters", "rate_limit"),
    Script.CANCEL: ("reads", "counters"),
    Script.COMMIT: ("reads", "counters"),
    Script.EXTEND: ("reads",),
    Script.NACK: ("reads", "counters", "rate_limit"),
    Script.REQUEUE_DEAD_LETTER: ("counters",),
    Script.REGISTER_WORKER: (),
    Script.REPLACE_RECORD_HEAD: ("reads",),
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
    redis: Redis,
    calls: Sequence[ScriptCall],
    wait: ReplicaWait | None,
    *,
    once: LostAnswers | None = None,
) -> tuple[list[Any], list[bool]]:
    """Run the calls with a ``WAIT`` in the same round trip: their answers, and whether enough replicas have what they wrote.

    That holds for a call too that found everything as it should be and wrote nothing: what it saw was written before.
    Where they do not, or where this server is a replica itself, the primary may have moved: it is looked up again.
    ``once``: no call is sent again when its answer is lost, but ``AnswerLost`` raised. In a cluster each shard has a round
    trip of its own, all at the same time; the error of one shard is in the places of its calls.
    """
    confirmed = [True] * len(calls)

    async def send(node: Redis, positions: Sequence[int], asking: bool) -> list[Any]:  # noqa: FBT001 - as cluster.Send
        answers, all_confirmed = await _run(
            node, [calls[i] for i in positions], _Round(wait, once=once, asking=asking)
        )
        for i in positions:
            confirmed[i] = all_confirmed
        return answers

    if isinstance(redis, ClusterRedis):
        answers = await redis.each_on_its_node([call.keys[0] for call in calls], send)
    else:
        answers = await send(redis, range(len(calls)), False)
    if not all(confirmed) or any(isinstance(answer, ReadOnlyError) for answer in answers):
        await look_for_primary(redis)
    return answers, confirmed


@dataclass(frozen=True, slots=True)
class _Round:
    """Round trip of calls to one server, by one connection, so that WAIT, which comes last, means the calls before it."""

    wait: ReplicaWait | None
    once: LostAnswers | None
    asking: bool

    async def send(self, redis: Redis, calls: Sequence[ScriptCall]) -> tuple[list[Any], bool]:
        commands: list[Command] = [
            ("EVALSHA", _DIGESTS[call.script], len(call.keys), *call.keys, *call.args) for call in calls
        ]
        if self.wait is not None:
            commands += self.wait.commands(keyspace.mark_beside(calls[-1].keys[0]))
        if self.once is not None:
            answers = await self.once.send(redis, commands, asking=self.asking)
        else:
            answers = await _pipeline(redis, commands, asking=self.asking)
        if self.wait is None:
            return answers, True
        *answers, marked, replicas = answers
        for answer in (marked, replicas):
            if isinstance(answer, NoPermissionError):
                raise answer  # not a question of time
        # Where the mark was refused (no memory left, a replica), WAIT was about some write before it.
        written = not isinstance(marked, RedisError)
        return answers, written and isinstance(replicas, int) and replicas >= self.wait.replicas


async def _run(redis: Redis, calls: Sequence[ScriptCall], one_round: _Round) -> tuple[list[Any], bool]:
    """Answers of one server, which is given the scripts that it lacks."""
    answers, confirmed = await one_round.send(redis, calls)
    missing = [i for i, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
    if missing:
        await load(redis)
        again, confirmed_again = await one_round.send(redis, [calls[i] for i in missing])
        confirmed &= confirmed_again
        for i, answer in zip(missing, again, strict=True):
            answers[i] = answer
    return answers, confirmed


async def _pipeline(redis: Redis, commands: Sequence[Command], *, asking: bool) -> list[Any]:
    async with redis.pipeline(transaction=False) as pipe:
        for command in commands:
            if asking:
                pipe.execute_command(*ASKING)
            pipe.execute_command(*command)
        answers = await pipe.execute(raise_on_error=False)
    return answers[1::2] if asking else answers
