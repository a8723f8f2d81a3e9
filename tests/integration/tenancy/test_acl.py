"""The Redis users that `sigmill tenants acl` makes, on a real Redis: all rights of their role, and no
others.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from redis.asyncio import Redis
from redis.exceptions import NoPermissionError

from queueing import QueueUnavailable, QueueUnconfirmed, ReceiptMissing, Signature, SigningClient
from queueing.broker import receipts
from queueing.broker.job_values import CancelStatus
from queueing.config.redis import RedisConfig
from queueing.protocol import keyspace
from queueing.protocol.algorithms import KeyKind
from queueing.protocol.jobs import job_id_of
from queueing.redis.connection import connect
from queueing.redis.scripts import Script, digest_of
from tests.support.farm.farm import digests
from tests.support.rig.operator import make_user, sigmill
from tests.support.rig.rig import MakeRig, Rig
from tests.support.waiting import until

TWO = {"acme": KeyKind.P256, "globex": KeyKind.P256}


@dataclass(slots=True)
class TenantsUser:
    """A running rig, the Redis settings of acme's own user, and a connection as that user."""

    rig: Rig
    acme: RedisConfig
    redis: Redis

    def client(self) -> SigningClient:
        config = replace(self.rig.client_config("acme"), redis=self.acme)
        return SigningClient(config, self.rig.keys["acme"])


async def send(redis: Redis, *words: str) -> Any:
    """Any command, as it is."""
    return await redis.execute_command(*words)  # type: ignore[no-untyped-call]


@pytest.fixture
async def user(make_rig: MakeRig) -> AsyncIterator[TenantsUser]:
    rig = make_rig(tenants=TWO)
    rig.start_worker()
    acme = make_user(rig, "--tenant", "acme")
    redis = connect(acme)
    yield TenantsUser(rig, acme, redis)
    await redis.aclose()


async def test_a_client_works_fully_as_its_tenants_user(user: TenantsUser) -> None:
    """Submit, push, look-ups, directory, a repeat, a conflict: nothing that the client does is missing."""
    async with user.client() as client:
        assert isinstance(await client.sign("release", os.urandom(32), timeout_s=60), Signature)
        many = [o async for o in client.sign_many("release", digests(300), timeout_s=60)]
        assert all(isinstance(o, Signature) for o in many)
        job = await client.submit("release", digests(5), request_id="one")
        assert all(isinstance(o, Signature) for o in await client.wait(job, timeout_s=60))
        assert await client.cancel(job.job_ids) == [CancelStatus.NOT_QUEUED]
        await send(user.redis, "ZCOUNT", keyspace.queue("acme"), "-inf", "inf")
    async with user.client() as again:
        repeat = await again.submit("release", digests(5), request_id="one")
        assert all(isinstance(o, Signature) for o in await again.wait(repeat.job_ids[0], timeout_s=60))
        assert all(isinstance(o, Signature) for o in await again.wait(repeat, timeout_s=60))
    config = replace(user.rig.client_config("acme"), redis=user.acme)
    async with SigningClient(config, user.rig.keys["acme"], accept="replicated") as careful:
        with pytest.raises(QueueUnconfirmed):  # it may WAIT; there is no replica here
            await careful.submit("release", digests(1), timeout_s=1.5)
    admin = user.rig.connect()
    entries: list[dict[str, Any]] = await admin.acl_log()
    denied = {str(entry["object"]) for entry in entries if entry["username"] == "tenant-acme"}
    await admin.aclose()
    assert denied <= {"client|setinfo", "client"}, "what the client library asks for is allowed"


NAMES_OF_OTHERS = [
    keyspace.queue("globex"),
    keyspace.directory("globex"),
    keyspace.reply_prefix("globex") + "0" * 32,
    keyspace.job("{globex}" + "0" * 32),
    keyspace.result("{globex}" + "0" * 32),
    keyspace.ORDERS,
    "arq:queue",
    "anything",
]


COMMANDS_OF_NOBODY = [
    ("EVAL", "return 1", "0"),
    ("SCRIPT", "LOAD", "return 1"),
    ("SCRIPT", "FLUSH"),
    ("EVALSHA", digest_of(Script.CLAIM), "0"),
    ("EVALSHA", digest_of(Script.COMMIT), "0"),
    ("KEYS", "*"),
    ("SCAN", "0"),
    ("FLUSHALL",),
    ("CONFIG", "GET", "*"),
    ("ACL", "LIST"),
    ("MONITOR",),
    ("INFO",),
    ("PUBLISH", keyspace.doorbell("globex"), "x"),
    ("PUBLISH", keyspace.ORDERS_BELL, "x"),
    ("SUBSCRIBE", keyspace.doorbell("acme")),
    ("PSUBSCRIBE", "*"),
    ("CLIENT", "LIST"),
    ("SHUTDOWN",),
]
OWN_BUT_NOT_TO_WRITE = [
    *(key("acme") for key in (keyspace.directory, keyspace.caps, keyspace.limiter, keyspace.fence)),
    keyspace.IN_PROGRESS_PREFIX + "{acme}" + "0" * 32,
]


async def allowed(redis: Redis, commands: Iterable[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Those of the commands that the user may run."""
    found = []
    for words in commands:
        with contextlib.suppress(NoPermissionError):
            await send(redis, *words)
            found.append(words)
    return found


async def test_a_tenants_user_may_do_only_what_its_client_does(make_rig: MakeRig) -> None:
    """The submit script by its digest and the client's few commands, and none of them on what is not its own."""
    rig = make_rig(tenants=TWO)
    rig.config()
    redis = connect(make_user(rig, "--tenant", "acme"))
    own = [("PING",), ("ZCOUNT", keyspace.queue("acme"), "-inf", "inf")]
    assert await allowed(redis, own) == own
    of_others = [(command, key) for key in NAMES_OF_OTHERS for command in ("GET", "DEL", "EXISTS")]
    assert await allowed(redis, of_others) == [], (
        "keys of others, to read, to write, or to see that they are there"
    )
    assert await allowed(redis, [("XREAD", "STREAMS", key, "0") for key in NAMES_OF_OTHERS]) == []
    writes = [words for key in OWN_BUT_NOT_TO_WRITE for words in (("SET", key, "1"), ("DEL", key))]
    assert await allowed(redis, writes) == [], "what the workers decide"
    assert await allowed(redis, COMMANDS_OF_NOBODY) == [], "other commands and scripts"
    await redis.aclose()


async def test_a_worker_works_as_the_workers_user(make_rig: MakeRig) -> None:
    """It signs and publishes directories, and no command is denied to it; it may not read other keys or
    change the server.
    """
    rig = make_rig()
    rig.config()
    redis = make_user(rig, "--worker")
    rig.redis_user = redis
    worker = rig.start_worker()
    async with rig.client() as client:
        assert isinstance(await client.sign("release", os.urandom(32), timeout_s=60), Signature)
    until(
        lambda: worker.metric("sigmill_directories_published_total", outcome="published") >= 1, "it publishes"
    )
    admin = rig.connect()
    entries: list[dict[str, Any]] = await admin.acl_log()
    denied = [str(e["object"]) for e in entries if e["username"] == "worker"]
    await admin.aclose()
    assert denied == []
    assert worker.metric("sigmill_redis_errors_total") == 0
    assert "arq.interrupted" not in worker.log()
    own = connect(redis)
    for words in (
        ("FLUSHALL",),
        ("CONFIG", "GET", "*"),
        ("KEYS", "*"),
        ("EVAL", "return 1", "0"),
        ("GET", "x"),
    ):
        with pytest.raises(NoPermissionError):
            await send(own, *words)
    await own.aclose()


def test_the_line_is_what_an_acl_file_takes(make_rig: MakeRig, tmp_path: Path) -> None:
    """Printed without --apply, the password as its hash only; a tenant that is not there is a mistake."""
    rig = make_rig()
    config = str(rig.config())
    done = sigmill("tenants", "acl", "--config", config, "--tenant", "acme")
    assert done.stdout.startswith("user tenant-acme reset on ~sigmill:{acme}:queue ")
    words = ["--tenant", "acme", "--password-file", str(tmp_path / "password")]
    done = sigmill("tenants", "acl", "--config", config, *words)
    password = (tmp_path / "password").read_text().strip()
    assert f" #{hashlib.sha256(password.encode()).hexdigest()} " in f"{done.stdout.strip()} "
    assert password not in done.stdout + done.stderr
    assert sigmill("tenants", "acl", "--config", config, "--tenant", "nobody").returncode == 2
    assert sigmill("tenants", "acl", "--config", config).returncode == 2


async def test_a_tenants_user_reads_its_own_receipts_and_writes_none(user: TenantsUser) -> None:
    """The error for another tenant's receipt names the command that sets the rights."""
    admin = user.rig.connect()
    own, other = (job_id_of(tenant, bytes(16)) for tenant in ("acme", "globex"))
    for job_id in (own, other):
        await receipts.publish(admin, [receipts.JobReceipt(job_id, b"proof")], retention_ms=60_000)
    assert await receipts.fetch(user.redis, [own]) == [b"proof"]
    with pytest.raises(ReceiptMissing, match="sigmill tenants acl"):
        await receipts.fetch(user.redis, [other])
    with pytest.raises(QueueUnavailable):
        await receipts.publish(user.redis, [receipts.JobReceipt(own, b"false")], retention_ms=60_000)
    assert await receipts.fetch(admin, [own]) == [b"proof"]
    await admin.aclose()
