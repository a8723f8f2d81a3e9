"""Heads of the record on a real Redis: replaced only over what was seen, whatever is there, and by workers alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from arq.connections import ArqRedis
from redis.exceptions import NoPermissionError

from queueing.config.redis import RedisConfig
from queueing.coordination.record_heads import (
    FOREIGN,
    KEEP_MS,
    HeadUpdate,
    all_heads,
    read_heads,
    replace_heads,
)
from queueing.errors import QueueUnavailable
from queueing.protocol import keyspace
from queueing.redis import connection, scripts
from queueing.redis.acl import password_sha256, set_user, tenant_rules, worker_rules
from queueing.redis.connection import connect
from queueing.redis.scripts import Script, digest_of
from queueing.transparency.signed_heads import MAX_HEAD_BYTES
from tests.support.redis.cluster import PASSWORD, RedisCluster
from tests.support.redis.process import RedisProcess
from workers.dev.private_files import write_private

KEY = keyspace.record_head("acme", "0123456789abcdef")
OTHER = keyspace.record_head("acme", "fedcba9876543210")


@pytest.fixture
async def redis(own_redis: RedisProcess, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ArqRedis]:
    """A pool that waits half a second for an answer."""
    monkeypatch.setattr(connection, "SOCKET_TIMEOUT_S", 0.5)
    pool = connect(RedisConfig(unix_socket=str(own_redis.socket_path)))
    yield pool
    await pool.aclose()


async def test_a_head_is_replaced_by_who_has_seen_it(redis: ArqRedis) -> None:
    """It stays for years: a copy of a state directory may be restored at any time."""
    assert await replace_heads(redis, [HeadUpdate(KEY, b"one", b"")]) == [True]
    assert await replace_heads(redis, [HeadUpdate(KEY, b"two", b"one"), HeadUpdate(OTHER, b"x", b"")]) == [
        True,
        True,
    ]
    assert await read_heads(redis, [KEY, OTHER, keyspace.record_head("b", "0" * 16)]) == [b"two", b"x", b""]
    assert KEEP_MS - 60_000 < await redis.pttl(KEY) <= KEEP_MS


async def test_all_heads_are_found_among_other_keys(redis: ArqRedis) -> None:
    """Nobody knows the names of what was lost. Foreign values and names that are none do not hide the others."""
    await replace_heads(redis, [HeadUpdate(KEY, b"one", b""), HeadUpdate(OTHER, b"x" * 9000, b"")])
    await redis.zadd(keyspace.record_head("b", "0" * 16), {"another type": 1})
    await redis.set(keyspace.record_head("c", "no name"), b"x")
    await redis.set(b"sigmill:{\xff}:head:" + b"0" * 16, b"x")
    await redis.mset({f"sigmill:other:{number}": b"x" for number in range(3000)})
    first, second, _ = await all_heads(redis)
    assert (first.tenant, first.name, first.value) == ("acme", "0123456789abcdef", b"one")
    assert KEEP_MS - 60_000 < first.left_ms <= KEEP_MS
    assert (second.name, len(second.value)) == ("fedcba9876543210", MAX_HEAD_BYTES + 1)


@pytest.mark.parametrize("seen", [b"", b"on", b"one ", b"two", b"\xff"])
async def test_a_head_that_has_changed_meanwhile_is_not_replaced(redis: ArqRedis, seen: bytes) -> None:
    await redis.set(KEY, b"one")
    assert await replace_heads(redis, [HeadUpdate(KEY, b"older", seen)]) == [False]
    assert await redis.get(KEY) == b"one"


VALUES: dict[str, tuple[bytes | str, ...]] = {
    "empty": ("SET", KEY, b""),
    "not-utf-8": ("SET", KEY, b"\xff\xfe\0\r\n"),
    "a-number": ("SET", KEY, b"9" * 400),
    "negative": ("SET", KEY, b"-1"),
    "huge": ("SETRANGE", KEY, str(64 * 1024 * 1024), b"x"),
    "hash": ("HSET", KEY, b"size", b"1"),
    "list": ("RPUSH", KEY, b"head"),
    "stream": ("XADD", KEY, "*", b"head", b"1"),
}


@pytest.mark.parametrize("name", VALUES)
async def test_whatever_is_there_is_read_by_its_first_bytes_and_can_be_replaced(
    redis: ArqRedis, name: str
) -> None:
    await redis.execute_command(*VALUES[name])  # type: ignore[no-untyped-call]
    (seen,) = await read_heads(redis, [KEY])
    assert isinstance(seen, bytes)
    assert len(seen) <= MAX_HEAD_BYTES + 1
    assert (seen == FOREIGN) == (name in {"hash", "list", "stream"})
    assert await replace_heads(redis, [HeadUpdate(KEY, b"head", seen)]) == [True]
    assert await read_heads(redis, [KEY]) == [b"head"]


async def test_a_redis_that_stands_still_is_an_outage(redis: ArqRedis, own_redis: RedisProcess) -> None:
    own_redis.pause()
    try:
        with pytest.raises(QueueUnavailable):
            await read_heads(redis, [KEY])
        with pytest.raises(QueueUnavailable):
            await replace_heads(redis, [HeadUpdate(KEY, b"head", b"")])
    finally:
        own_redis.resume()


async def test_a_redis_without_memory_keeps_its_head(redis: ArqRedis, own_redis: RedisProcess) -> None:
    """The error is of this head; to read works."""
    await redis.set(KEY, b"one")
    own_redis.command("CONFIG", "SET", "maxmemory", "1")
    (answer,) = await replace_heads(redis, [HeadUpdate(KEY, b"two", b"one")])
    assert isinstance(answer, QueueUnavailable)
    assert await read_heads(redis, [KEY]) == [b"one"]


async def user(redis: ArqRedis, server: RedisProcess, name: str, rules: list[str]) -> ArqRedis:
    await set_user(redis, name, rules)
    password = server.directory / f"{name}-password"
    write_private(password, "pw\n")
    return connect(
        RedisConfig(unix_socket=str(server.socket_path), username=name, password_file=str(password))
    )


async def test_the_workers_user_publishes_heads(redis: ArqRedis, own_redis: RedisProcess) -> None:
    worker = await user(redis, own_redis, "worker", worker_rules(password_sha256("pw")))
    assert await replace_heads(worker, [HeadUpdate(KEY, b"head", b"")]) == [True]
    assert await read_heads(worker, [KEY]) == [b"head"]
    await worker.aclose()


COMMANDS: list[tuple[str, ...]] = [
    ("SET", KEY, "x"),
    ("DEL", KEY),
    ("GET", KEY),
    ("MGET", KEY),
    ("PEXPIRE", KEY, "1"),
    ("RENAME", KEY, "{acme}"),
    ("EVALSHA", digest_of(Script.REPLACE_RECORD_HEAD), "1", KEY, "x", "", "9", "9"),
]


async def test_a_tenants_user_can_neither_read_nor_write_nor_remove_a_head(
    redis: ArqRedis, own_redis: RedisProcess
) -> None:
    """Its own neither: it cannot hide that a log was set back, nor have one given up."""
    await scripts.load(redis)
    await redis.set(KEY, b"head")
    tenant = await user(redis, own_redis, "acme", tenant_rules("acme", password_sha256("pw")))
    for words in COMMANDS:
        with pytest.raises(NoPermissionError):
            await tenant.execute_command(*words)  # type: ignore[no-untyped-call]
    await tenant.aclose()
    assert await redis.get(KEY) == b"head"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    with RedisCluster(tmp_path_factory.mktemp("heads")) as made:
        yield made


async def test_heads_of_tenants_of_every_shard_are_kept_by_a_cluster(
    cluster: RedisCluster, tmp_path: Path
) -> None:
    """Each key has its tenant's hash tag, and one call has tenants of many shards."""
    write_private(tmp_path / "password", f"{PASSWORD}\n")
    nodes = tuple(f"127.0.0.1:{node.port}" for node in cluster.nodes)
    redis = connect(RedisConfig(cluster=nodes, password_file=str(tmp_path / "password")))
    keys = [keyspace.record_head(tenant, "0" * 16) for tenant in ("t2", "t1", "acme")]
    try:
        assert await replace_heads(redis, [HeadUpdate(key, key.encode(), b"") for key in keys]) == [True] * 3
        assert await replace_heads(redis, [HeadUpdate(key, b"x", b"") for key in keys]) == [False] * 3
        assert await read_heads(redis, keys) == [key.encode() for key in keys]
    finally:
        await redis.aclose()
