"""A Redis Cluster of three primaries: tenants of every shard sign, while a slot is moved, and while a primary dies."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from bench.hsm.simhsm import write_rules
from queueing import Signature, SigningClient
from queueing.aio.owned_tasks import end_tasks
from queueing.broker.claims import ClaimRequest, ClaimResult, Claims
from queueing.broker.doorbell import listen
from queueing.config.redis import RedisConfig
from queueing.coordination import stop_order_feed
from queueing.errors import ConfigError, QueueUnavailable
from queueing.protocol import keyspace
from queueing.protocol.algorithms import KeyKind
from queueing.redis.cluster import ClusterRedis
from queueing.redis.connection import connect
from tests.support.farm.farm import digests
from tests.support.farm.grant_server import GrantServer
from tests.support.hsm.tokens import TokenShelf
from tests.support.redis.cluster import PASSWORD, RedisCluster
from tests.support.relay.relay_process import RelayProcess
from tests.support.rig.operator import edit, make_user
from tests.support.rig.rig import Rig
from tests.support.rig.shared_rig import behind_simhsm, signed_for_jobs
from tests.support.rig.under_load import under_load
from tests.support.sigmill_cli import sigmill
from tests.support.waiting import until_async
from workers.dev.private_files import write_private
from workers.dev.tenants import AUDIENCE
from workers.telemetry.metrics import Metrics
from workers.worker import SigningWorker

TENANTS = {"t2": KeyKind.P256, "t1": KeyKind.P256, "acme": KeyKind.P256}
"""One on each of three shards, in order."""

FAILS_OVER_WITHIN_S = 30.0


@contextlib.contextmanager
def rig_on(
    cluster: RedisCluster, folder: Path, shelf: TokenShelf, *more: str, table: str = "", acme: str = ""
) -> Iterator[Rig]:
    """``acme``: text at the end of its tenant's file."""
    rig = Rig(
        directory=folder / "rig",
        redis=cluster.nodes[0],
        shelf=shelf,
        tenants=TENANTS,
        wrap=behind_simhsm(folder / "rig"),
        redis_table=table or cluster.table(*more),
        more={"acme": acme},
    )
    with rig:
        yield rig


@contextlib.contextmanager
def relay_for(rig: Rig, table: str) -> Iterator[RelayProcess]:
    """A relay with this table of Redis for acme."""
    password = f'password_file = "{rig.directory / "redis-password"}"'
    relay = RelayProcess(folder=rig.directory / "relay", audience=AUDIENCE, redis=f"{password}\n{table}")
    relay.start()
    try:
        yield relay
    finally:
        relay.kill()


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    """Three primaries without replicas, for tests that leave the slots where they are."""
    with RedisCluster(tmp_path_factory.mktemp("shards")) as cluster:
        yield cluster


def signed_twice(rig: Rig) -> list[bytes]:
    """Ends of the digests that acme's token has signed more than once."""
    seen = Counter(record.input_tail for record in signed_for_jobs(rig.directory / "acme.simhsm.log"))
    return [tail for tail, times in seen.items() if times > 1]


async def sign_each(rig: Rig, *, timeout_s: float = 60.0) -> dict[str, int]:
    """Number of signatures that each tenant gets for eight digests."""
    signed = {}
    for tenant in TENANTS:
        async with rig.client(tenant) as client:
            found = await asyncio.gather(
                *(client.sign("release", digest, timeout_s=timeout_s) for digest in digests(8, salt=tenant))
            )
            signed[tenant] = len(found)
    return signed


def test_the_tenants_are_on_three_shards(shards: RedisCluster) -> None:
    """The three tenants are on three shards, as the other tests need."""
    assert [shards.shard_of(tenant) for tenant in TENANTS] == [0, 1, 2]


def test_tenants_of_every_shard_sign_through_one_worker(
    shards: RedisCluster, tmp_path: Path, shelf: TokenShelf
) -> None:
    """Each tenant's digests are signed, and `status`, `deadletter` and `doctor` see all shards."""
    with rig_on(shards, tmp_path, shelf) as rig:
        worker = rig.start_worker()
        assert asyncio.run(sign_each(rig)) == dict.fromkeys(TENANTS, 8)
        config = str(rig.config(1))
        status = json.loads(sigmill("status", "--config", config, "--json").out)
        assert [line["tenant"] for line in status["tenants"]] == sorted(TENANTS)
        assert worker.pid in {line["pid"] for line in status["workers"]}
        assert sigmill("deadletter", "list", "--config", config).code == 0
        doctor = sigmill("doctor", "--config", config).out
        assert all(f"127.0.0.1:{node.port}" in doctor for node in shards.nodes)
        assert "redis.cluster" not in doctor


def test_a_relay_signs_for_a_tenant_of_a_cluster(
    shards: RedisCluster, tmp_path: Path, shelf: TokenShelf
) -> None:
    """Its table names nodes as that of a worker does, and the relay finds the tenant's shard."""
    with rig_on(shards, tmp_path, shelf) as rig:
        rig.start_worker()
        with relay_for(rig, shards.table()) as relay:

            async def sign() -> list[object]:
                config = relay.client_config(rig.client_config("acme"))
                async with SigningClient(config, rig.keys["acme"]) as client:
                    return [o async for o in client.sign_many("release", digests(130), timeout_s=60)]

            assert [type(each) for each in asyncio.run(sign())] == [Signature] * 130


def test_receipts_of_tenants_on_every_shard_come_through_one_worker(
    shards: RedisCluster, tmp_path: Path, shelf: TokenShelf
) -> None:
    """Each client finds its receipt on its tenant's shard."""

    async def receipts() -> list[bytes | None]:
        found = []
        for tenant in TENANTS:
            (digest,) = digests(1, salt=tenant)
            config = replace(rig.client_config(tenant), receipt_timeout_s=60.0)
            async with SigningClient(config, rig.keys[tenant]) as client:
                found.append((await client.sign("release", digest, receipt=True, timeout_s=60)).receipt)
        return found

    with rig_on(shards, tmp_path, shelf) as rig:
        rig.service = "\n[record]\nenabled = true\n"
        rig.start_worker()
        assert all(asyncio.run(receipts()))


def test_a_cluster_that_nobody_named_is_refused_at_once_in_one_sentence(
    shards: RedisCluster, tmp_path: Path, shelf: TokenShelf
) -> None:
    """The client of another shard's tenant fails before its deadline; worker and `doctor` name the
    setting.
    """
    table = f'host = "127.0.0.1"\nport = {shards.nodes[0].port}\n'
    with rig_on(shards, tmp_path, shelf, table=table) as rig:
        with pytest.raises(ConfigError, match="cluster with several shards"):
            asyncio.run(_sign_one(rig, "acme"))
        worker = rig.start_worker(ready=False)
        asyncio.run(
            until_async(lambda: "is a cluster with several shards" in worker.log(), "the worker says it")
        )
        findings = sigmill("doctor", "--config", str(rig.config(1))).out
        assert "redis.cluster" in findings
        assert "cluster = [" in findings


def test_tenants_and_workers_sign_as_users_by_least_right(
    shards: RedisCluster, tmp_path: Path, shelf: TokenShelf
) -> None:
    """`sigmill tenants acl --apply` sets both users on every node, with what a client of a cluster needs."""
    with rig_on(shards, tmp_path, shelf) as rig:
        rig.config(1)
        acme = make_user(rig, "--tenant", "acme")
        rig.redis_user = make_user(rig, "--worker")
        rig.start_worker()
        named = rig.client_config("acme").redis_settings().cluster
        config = replace(rig.client_config("acme"), redis=replace(acme, unix_socket=None, cluster=named))

        async def sign() -> None:
            async with SigningClient(config, rig.keys["acme"]) as client:
                await client.sign("release", b"\1" * 32, timeout_s=60)

        asyncio.run(sign())


def test_a_stop_order_reaches_workers_at_whichever_node_they_listen(
    shards: RedisCluster, tmp_path: Path
) -> None:
    """A message published on one node reaches subscribers of all, and the subscribers of all nodes are counted."""

    async def publish() -> int:
        heard: list[bytes] = []
        redis = _connect(shards, tmp_path)
        await redis.ping()
        subscriptions = [node.pubsub() for node in await redis.members()]
        for subscription in subscriptions:
            await subscription.subscribe(keyspace.ORDERS_BELL)
            await subscription.get_message(timeout=60)
        count = await stop_order_feed.publish(redis, {b"1": b"signed"})
        for subscription in subscriptions:
            message = await subscription.get_message(timeout=60)
            heard += [message["data"]] if message else []
            await subscription.aclose()  # type: ignore[no-untyped-call]
        assert heard == [b"signed"] * 3
        assert (await stop_order_feed.poll(redis, [])).new == {b"1": b"signed"}
        await redis.delete(keyspace.ORDERS)
        await redis.aclose()
        return count

    assert asyncio.run(publish()) == 3


def test_no_doorbell_is_missed_from_the_confirmation_on_whichever_node_rings(
    shards: RedisCluster, tmp_path: Path
) -> None:
    """The node with the subscription passes each bell on, also after the connection was cut."""

    async def ring() -> list[str]:
        heard: list[str] = []
        begun: list[int] = []
        redis = _connect(shards, tmp_path)
        await redis.ping()
        members = await redis.members()
        listening = asyncio.create_task(listen(redis, heard.append, lambda: begun.append(1)))
        for times in (1, 2):
            await until_async(lambda times=times: len(begun) == times, "it listens")  # type: ignore[misc]
            for node in members:
                await node.publish(keyspace.doorbell("acme"), "acme")
            await until_async(lambda times=times: len(heard) == 3 * times, "each bell is heard")  # type: ignore[misc]
            for node in members:
                await node.execute_command("CLIENT", "KILL", "TYPE", "PUBSUB")  # type: ignore[no-untyped-call]
        await end_tasks([listening])
        await redis.aclose()
        return heard

    assert asyncio.run(ring()) == ["acme"] * 6


def test_a_lease_that_was_moved_before_its_queue_is_not_lost(tmp_path: Path) -> None:
    """During the move the old node cannot read the lease: it does not count as lost, then or afterwards."""
    with RedisCluster(tmp_path / "nodes") as cluster:

        async def claim_and_move() -> tuple[int, int, int]:
            redis = _connect(cluster, tmp_path)
            claims = Claims(redis, owner="worker", lease_ms=60_000)
            await redis.zadd(keyspace.queue("acme"), {"{acme}job": 0})
            await redis.set(keyspace.job("{acme}job"), b"payload")
            (found,) = await claims.claim([ClaimRequest(tenant="acme", most_jobs=1, most_digests=1)])
            assert isinstance(found, ClaimResult)
            held = {"acme": list(found.jobs)}
            target = cluster.nodes[0]
            cluster.begin_move("acme", target)
            cluster.move_keys("acme", target, [f"{keyspace.IN_PROGRESS_PREFIX}{{acme}}job"])
            lost_meanwhile = await claims.extend(held)
            await asyncio.to_thread(cluster.end_move, "acme", target)
            lost_afterwards = await claims.extend(held)
            await redis.aclose()
            return len(held["acme"]), len(lost_meanwhile), len(lost_afterwards)

        assert asyncio.run(claim_and_move()) == (1, 0, 0)


def test_a_job_without_the_tenants_tag_is_removed_and_counted(shards: RedisCluster, tmp_path: Path) -> None:
    """The tenant's scripts cannot reach its keys on another shard; the next job is claimed."""

    async def claim() -> tuple[int, list[bytes]]:
        redis = _connect(shards, tmp_path)
        stray = next(f"job-{i}" for i in range(99) if shards.shard_of(f"arq:job:job-{i}") != 2)
        await redis.zadd(keyspace.queue("acme"), {stray: 0, "{acme}good": 1})
        await redis.set(keyspace.job("{acme}good"), b"payload")
        claims = Claims(redis, owner="worker", lease_ms=1)
        (found,) = await claims.claim([ClaimRequest(tenant="acme", most_jobs=9, most_digests=9)])
        assert isinstance(found, ClaimResult)
        for key in (keyspace.queue("acme"), keyspace.claims("acme"), keyspace.job("{acme}good")):
            await redis.delete(key)
        await redis.aclose()
        return found.replaced, [job.job_id for job in found.jobs]

    assert asyncio.run(claim()) == (1, [b"{acme}good"])


def test_a_shard_that_is_away_costs_its_own_tenants_alone(tmp_path: Path) -> None:
    """In one claim round the other tenants get their answers, and its own tenants get its error."""
    with RedisCluster(tmp_path / "nodes") as cluster:

        async def claim() -> list[type]:
            redis = _connect(cluster, tmp_path)
            claims = Claims(redis, owner="worker", lease_ms=60_000)
            requests = [ClaimRequest(tenant=name, most_jobs=1, most_digests=1) for name in TENANTS]
            await claims.claim(requests)
            cluster.nodes[2].kill()
            answers = await claims.claim(requests)
            await redis.aclose()
            return [type(answer) for answer in answers]

        assert asyncio.run(claim()) == [ClaimResult, ClaimResult, QueueUnavailable]


def _connect(cluster: RedisCluster, folder: Path) -> ClusterRedis:
    write_private(folder / "password", f"{PASSWORD}\n")
    nodes = (f"127.0.0.1:{cluster.nodes[0].port}",)
    redis = connect(RedisConfig(cluster=nodes, password_file=str(folder / "password")))
    assert isinstance(redis, ClusterRedis)
    return redis


def test_arqs_own_functions_are_refused_in_a_cluster(
    shards: RedisCluster, tmp_path: Path, shelf: TokenShelf
) -> None:
    """Their keys have no common slot, so the worker is refused at its start."""

    async def function(ctx: dict[str, object]) -> None:
        del ctx

    with rig_on(shards, tmp_path, shelf) as rig, pytest.raises(ConfigError, match="no transactions"):
        SigningWorker([function], signing=rig.load(1), metrics=Metrics(CollectorRegistry()))


async def _sign_one(rig: Rig, tenant: str) -> None:
    async with asyncio.timeout(60), rig.client(tenant) as client:
        await client.sign("release", b"\1" * 32, timeout_s=120)


def test_a_slot_that_is_moved_under_load_loses_nothing(tmp_path: Path, shelf: TokenShelf) -> None:
    """Its tenant waits while its keys are on two nodes, then signs at the new one; nothing is lost or signed
    twice.

    Tenants of other slots sign meanwhile.
    """
    with RedisCluster(tmp_path / "nodes") as cluster, rig_on(cluster, tmp_path, shelf) as rig:
        worker = rig.start_worker()

        async def move() -> None:
            await sign_each(rig)  # lanes begin with their first job
            source, target = cluster.nodes[cluster.shard_of("acme")], cluster.nodes[0]
            async with under_load(rig, worker) as load, rig.client("t1") as neighbour:
                cluster.begin_move("acme", target)
                for digest in digests(3):
                    await neighbour.sign("release", digest, timeout_s=60)
                moved = await asyncio.to_thread(cluster.end_move, "acme", target)
                assert moved > 0
                before = load.signed()
                await until_async(lambda: load.signed() > before + 8, "acme signs at the new node")
            assert source.command("CLUSTER", "COUNTKEYSINSLOT", str(cluster.slot_of("acme"))) == b":0"

        asyncio.run(move())
        assert signed_twice(rig) == []


def test_a_shard_without_its_replica_holds_up_its_own_tenants_alone(
    tmp_path: Path, shelf: TokenShelf
) -> None:
    """Under ``replicated`` its commits wait for the replica, and the tenants of the other shards sign meanwhile."""
    with (
        RedisCluster(tmp_path / "nodes", replicas=1) as cluster,
        rig_on(cluster, tmp_path, shelf, 'accept = "replicated"') as rig,
    ):
        worker = rig.start_worker()

        async def freeze() -> None:
            await sign_each(rig)  # lanes begin with their first job
            replica = cluster.nodes[3 + cluster.shard_of("acme")]
            write_rules(rig.directory / "acme.faults", ["C_Sign hold"])
            async with rig.client("acme") as client, rig.client("t1") as neighbour:
                waiting = asyncio.ensure_future(client.sign("release", b"\2" * 32, timeout_s=120))
                await until_async(lambda: worker.metric("sigmill_jobs_in_flight") == 1, "it is claimed")
                replica.pause()
                write_rules(rig.directory / "acme.faults", [])
                await until_async(
                    lambda: worker.metric("sigmill_redis_errors_total", operation="replicate") >= 1,
                    "its commit is not confirmed",
                )
                for digest in digests(5):
                    await neighbour.sign("release", digest, timeout_s=60)
                await until_async(
                    lambda: worker.metric("sigmill_jobs_in_flight") == 1 or client.submit_trouble is not None,
                    "acme's job is held by the worker, or its submit by the replica that was paused before it",
                )
                assert not waiting.done()
                replica.resume()
                await waiting

        asyncio.run(freeze())
        assert signed_twice(rig) == []


@pytest.mark.parametrize("accept", ["local", "replicated"])
def test_a_primary_that_dies_under_load_loses_nothing_beyond_the_accept_level(
    accept: str, tmp_path: Path, shelf: TokenShelf
) -> None:
    """Its replica is promoted, and all clients get one outcome for each digest, also a build by token through a relay; other
    shards sign meanwhile.

    What a primary took alone and lost is sent again by the client that waits for it.
    """
    with (
        GrantServer(most=500) as issuer,
        RedisCluster(tmp_path / "nodes", replicas=2 if accept == "replicated" else 1) as cluster,
        rig_on(cluster, tmp_path, shelf, f'accept = "{accept}"', acme=issuer.block) as rig,
        relay_for(rig, cluster.table(f'accept = "{accept}"')) as relay,
    ):
        edit(rig.tenant_file("acme"), "[keys.release]", '[keys.release]\nissuers = ["ci"]')
        worker = rig.start_worker()
        by_token = issuer.client_config(relay.client_config(rig.client_config("acme")), tmp_path / "token")

        async def kill() -> None:
            await sign_each(rig)  # lanes begin with their first job
            primary = cluster.nodes[cluster.shard_of("acme")]
            async with (
                under_load(rig, worker) as load,
                under_load(rig, worker, client=SigningClient(by_token)) as build,
                rig.client("t1") as neighbour,
            ):
                primary.kill()
                await neighbour.sign("release", b"\1" * 32, timeout_s=60)
                await until_async(
                    lambda: cluster.primary_of("acme", besides=primary) is not None,
                    "a replica is promoted",
                    within_s=FAILS_OVER_WITHIN_S,
                )
                given = [len(load.given), len(build.given)]
                await until_async(
                    lambda: len(load.outcomes) > given[0] and len(build.outcomes) > given[1],
                    "both sign at the new primary",
                )

        asyncio.run(kill())
        assert issuer.tokens
        if accept == "replicated":
            assert signed_twice(rig) == []
