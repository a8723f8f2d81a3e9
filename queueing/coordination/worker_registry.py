"""Registry of workers: each registers in Redis every few seconds, and is removed some minutes after its last report.

For people only: no worker decides anything by another's entry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from redis.exceptions import RedisError

from queueing.protocol import keyspace
from queueing.redis import scripts
from queueing.redis.errors import is_foreign_value, redis_errors
from queueing.redis.script_answers import checked
from queueing.redis.scripts import Script, ScriptCall
from queueing.redis.values import MOST_COUNT, Count, Readable

if TYPE_CHECKING:
    from redis.asyncio import Redis

INTERVAL_S: Final = 5.0
SILENT_AFTER_S: Final = 15.0
"""Three missed reports: as long as a lease, after which its jobs are taken over."""

KEEP_MS: Final = 5 * 60 * 1000
"""Long enough to see that a worker is gone; then its entry removes itself."""

MOST_WORKERS: Final = 4096
MOST_NAMED: Final = 16
"""Most tokens that a worker lists as drained, or with an open circuit; and most tenants as paused."""

_Text = Annotated[str, msgspec.Meta(max_length=256)]
_Names = Annotated[tuple[_Text, ...], msgspec.Meta(max_length=MOST_NAMED)]


class WorkerInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Report of a worker. ``owner`` is the name in its leases; times in Unix ms of its host's clock.

    ``epoch`` is that of its sigmill.toml. ``lanes`` are logged in, with so many ``sessions``. ``metrics``: where it
    serves them. ``log_paused``: tenants for which it claims nothing, because their share of its log's disk is used.
    """

    owner: _Text
    host: _Text
    pid: Count
    version: _Text
    since_ms: Count
    epoch: Count
    tenants: Count
    ready: bool
    draining: bool
    jobs_in_flight: Count
    lanes: Count
    sessions: Count
    circuits_open: _Names = ()
    drained: _Names = ()
    metrics: _Text = ""
    log_paused: _Names = ()


class RegisteredWorker(msgspec.Struct, frozen=True, kw_only=True):
    """A worker, and the time since its last report, by Redis' clock."""

    info: WorkerInfo
    silent_s: float

    @property
    def alive(self) -> bool:
        """Whether it reported within ``SILENT_AFTER_S``."""
        return self.silent_s < SILENT_AFTER_S


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(WorkerInfo)


async def register(redis: Redis, info: WorkerInfo) -> None:
    """Register a worker, or renew its report: one round trip. Raises ``QueueUnavailable`` (retryable)."""
    await _run(redis, info.owner, _encoder.encode(info))


async def deregister(redis: Redis, owner: str) -> None:
    """Remove a worker that shuts down cleanly. Raises ``QueueUnavailable`` (retryable)."""
    await _run(redis, owner, b"")


async def registered_workers(redis: Redis) -> Readable[RegisteredWorker]:
    """The workers that reported lately, by host and process id: one round trip. Entries that cannot be read are counted.

    Raises ``QueueUnavailable`` (retryable).
    """
    with redis_errors("list the workers"):
        async with redis.pipeline(transaction=False) as pipe:
            pipe.time()
            pipe.zrange(keyspace.WORKERS_SEEN, 0, -1, withscores=True)
            pipe.hgetall(keyspace.WORKERS_FACTS)
            time, seen, facts = await pipe.execute(raise_on_error=False)
        for answer in (time, seen, facts):
            if isinstance(answer, RedisError) and not is_foreign_value(answer):
                raise answer
        if isinstance(seen, RedisError) or isinstance(facts, RedisError):
            return Readable([], damaged=1)  # a foreign type under the key
        seconds, microseconds = checked(time, tuple[int, int])
        reports = checked(seen, list[tuple[bytes, float]])
        infos = checked(facts, dict[bytes, bytes])
    now_ms = seconds * 1000 + microseconds / 1000
    found, damaged = [], 0
    for owner, at_ms in reports:
        try:
            info = _decoder.decode(infos.get(owner, b""))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            damaged += 1  # of another version, or not written by a worker
            continue
        silent_ms = min(max(now_ms - at_ms, 0.0), MOST_COUNT)
        found.append(RegisteredWorker(info=info, silent_s=silent_ms / 1000))
    found.sort(key=lambda each: (each.info.host, each.info.pid))
    return Readable(found, damaged)


async def _run(redis: Redis, owner: str, facts: bytes) -> None:
    keys = (keyspace.WORKERS_SEEN, keyspace.WORKERS_FACTS)
    with redis_errors("register a worker"):
        (answer,) = await scripts.run_each(
            redis, [ScriptCall(Script.REGISTER_WORKER, keys, (owner, facts, KEEP_MS, MOST_WORKERS))]
        )
        if isinstance(answer, RedisError):
            raise answer
