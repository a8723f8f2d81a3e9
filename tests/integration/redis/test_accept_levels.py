"""Accept levels on a primary with two replicas: confirmed and repeated submits, and claims that a worker
gives back.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from bench.hsm.simhsm import read_log, write_rules
from queueing import AcceptLevel, QueueUnconfirmed, Signature, SigningClient, WaitTimeout
from queueing.errors import QueueUnavailable
from queueing.protocol import keyspace
from tests.support.farm.farm import digests
from tests.support.hsm.tokens import TokenShelf
from tests.support.redis.nodes import RedisNodes
from tests.support.redis.process import RedisProcess
from tests.support.relay.relay_process import RelayProcess
from tests.support.rig.operator import sigmill
from tests.support.rig.rig import Rig, WorkerProcess
from tests.support.rig.shared_rig import behind_simhsm
from tests.support.waiting import until, until_async
from workers.dev.tenants import AUDIENCE

REPLICATED = 'accept = "replicated"\n'


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisNodes]:
    with RedisNodes(tmp_path_factory.mktemp("nodes")) as made:
        yield made


@pytest.fixture(scope="module")
def rig(nodes: RedisNodes, shelf: TokenShelf, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """Clients accept as ``client.toml`` says, ``replicated``; the worker commits so too."""
    redis = nodes.nodes[0]
    table = f'unix_socket = "{redis.socket_path}"\n{REPLICATED}'
    folder = tmp_path_factory.mktemp("rig") / "rig"
    with Rig(
        directory=folder, redis=redis, shelf=shelf, redis_table=table, wrap=behind_simhsm(folder)
    ) as made:
        yield made


@pytest.fixture(scope="module")
def running(rig: Rig) -> WorkerProcess:
    return rig.start_worker()


@pytest.fixture
def worker(running: WorkerProcess, nodes: RedisNodes) -> Iterator[WorkerProcess]:
    """The running worker: ready after each test, with an empty queue."""
    yield running
    for node in nodes.nodes:
        node.resume()
    until(lambda: running.ready, "the worker is ready again")
    queue = keyspace.queue("acme")
    until(lambda: nodes.nodes[0].command("ZCARD", queue) == b":0", "the queue is empty")
    until(lambda: running.metric("sigmill_jobs_in_flight") == 0, "the worker has no job in hand")


@pytest.fixture
def frozen(worker: WorkerProcess, nodes: RedisNodes) -> list[RedisProcess]:
    """Both replicas, paused until the test or ``worker`` resumes them."""
    replicas = nodes.nodes[1:]
    for node in replicas:
        node.pause()
    return replicas


def client(rig: Rig, *, accept: AcceptLevel | None = None, replicas: int = 1) -> SigningClient:
    config = rig.client_config("acme")
    config = replace(config, redis=replace(config.redis_settings(), replicas=replicas))
    return SigningClient(config, rig.keys["acme"], accept=accept)


async def test_replicated_is_as_local_while_replicas_answer(rig: Rig, worker: WorkerProcess) -> None:
    """Each digest gets a signature, and the primary was asked to WAIT for its replicas."""
    async with client(rig, replicas=2) as signer:
        outcomes = [o async for o in signer.sign_many("release", digests(300), timeout_s=40)]
    assert [type(outcome) for outcome in outcomes] == [Signature] * 300
    assert "cmdstat_wait" in rig.redis.info("commandstats")


async def test_a_submit_that_no_replica_has_is_unknown_and_asked_again(
    rig: Rig, worker: WorkerProcess, frozen: list[RedisProcess]
) -> None:
    """It fails at its deadline with a retryable error; a call with a later deadline repeats it until the
    replicas confirm.
    """
    async with client(rig) as signer:
        with pytest.raises(QueueUnconfirmed) as caught:
            await signer.submit("release", digests(100), request_id="unknown", timeout_s=4.0)
        assert caught.value.retryable
        waiting = asyncio.create_task(
            signer.submit("release", digests(100), request_id="unknown", timeout_s=60)
        )
        await asyncio.sleep(1.0)  # meanwhile nothing confirms it
        assert not waiting.done()
        for node in frozen:
            node.resume()
        job = await waiting
        outcomes = await signer.wait(job, timeout_s=60)
        assert [type(outcome) for outcome in outcomes] == [Signature] * 100
        assert await signer.wait(job, timeout_s=60) == outcomes, "the same bytes"


async def test_a_relay_waits_for_replicas_for_its_clients(
    rig: Rig, worker: WorkerProcess, frozen: list[RedisProcess], tmp_path: Path
) -> None:
    """By `accept` of its own table: a submit that no replica has is refused, and is accepted once the
    replicas answer.
    """
    table = (
        f'unix_socket = "{rig.redis.socket_path}"\npassword_file = "{rig.place.password_file}"\n{REPLICATED}'
    )
    relay = RelayProcess(folder=tmp_path / "relay", audience=AUDIENCE, redis=table)
    relay.start()
    try:
        config = relay.client_config(rig.client_config("acme"))
        async with SigningClient(config, rig.keys["acme"]) as signer:
            with pytest.raises((QueueUnconfirmed, QueueUnavailable)):
                await signer.submit("release", digests(70), request_id="by relay", timeout_s=4.0)
            for node in frozen:
                node.resume()
            job = await signer.submit("release", digests(70), request_id="by relay", timeout_s=60)
            outcomes = await signer.wait(job, timeout_s=60)
        assert [type(outcome) for outcome in outcomes] == [Signature] * 70
    finally:
        relay.kill()


async def test_local_does_not_wait_for_replicas(
    rig: Rig, worker: WorkerProcess, frozen: list[RedisProcess]
) -> None:
    """A client with ``accept=LOCAL`` submits while both replicas are paused."""
    async with client(rig, accept=AcceptLevel.LOCAL) as signer:
        job = await signer.submit("release", digests(3), timeout_s=60)
    assert len(job.job_ids) == 1


async def test_as_many_replicas_as_are_asked_for(rig: Rig, worker: WorkerProcess, nodes: RedisNodes) -> None:
    """One replica that answers is enough where one is asked for, and too few where two are."""
    nodes.nodes[1].pause()
    async with client(rig, replicas=1) as signer:
        await signer.submit("release", digests(3), timeout_s=60)
    async with client(rig, replicas=2) as signer:
        with pytest.raises(QueueUnconfirmed):
            await signer.submit("release", digests(3), timeout_s=4.0)


async def test_a_job_whose_claim_no_replica_knows_is_not_signed(
    rig: Rig, worker: WorkerProcess, frozen: list[RedisProcess]
) -> None:
    """The job stays in the queue, the worker is not ready, and the HSM signs none of it until the replicas
    are back.
    """
    given = digests(200, salt="unclaimed")
    tails = {digest[-8:] for digest in given}
    async with client(rig, accept=AcceptLevel.LOCAL) as signer:
        job = await signer.submit("release", given, request_id="unclaimed")
        await until_async(lambda: not worker.ready, "it is not ready")
        redis = rig.connect()
        await asyncio.sleep(1.0)  # meanwhile nothing is signed
        assert await redis.zcard(keyspace.queue("acme")) == len(job.job_ids)
        await redis.aclose()
        log = read_log(rig.directory / "acme.simhsm.log")
        assert not any(record.input_tail in tails for record in log)
        for node in frozen:
            node.resume()
        outcomes = await signer.wait(job, timeout_s=40)
    assert [type(outcome) for outcome in outcomes] == [Signature] * 200


async def test_a_commit_that_no_replica_has_is_repeated_and_holds_up_claims(
    rig: Rig, worker: WorkerProcess, nodes: RedisNodes
) -> None:
    """Replicas are paused while the HSM signs: one signature is made, and the next job is claimed once they
    are back.
    """
    log = rig.directory / "acme.simhsm.log"
    rules = rig.directory / "acme.faults"
    given = digests(1, salt="uncommitted")
    write_rules(rules, ["C_Sign hold"])

    def signed() -> int:
        return sum(record.input_tail == given[0][-8:] for record in read_log(log))

    try:
        async with client(rig, accept=AcceptLevel.LOCAL) as signer:
            first = await signer.submit("release", given, request_id="uncommitted")
            await until_async(lambda: worker.metric("sigmill_jobs_in_flight") == 1, "it is claimed")
            for node in nodes.nodes[1:]:
                node.pause()
            write_rules(rules, [])
            await until_async(lambda: signed() == 1, "it is signed")
            await until_async(lambda: not worker.ready, "the worker is not ready")
            await signer.submit("release", digests(5), request_id="later")
            redis = rig.connect()
            await asyncio.sleep(0.5)  # meanwhile the later job is not claimed
            assert await redis.zcard(keyspace.queue("acme")) == 1, "the later one waits"
            assert worker.metric("sigmill_jobs_in_flight") == 1, "the first one's commit counts"
            await redis.aclose()
            (before,) = await signer.wait(first, timeout_s=60)
            for node in nodes.nodes[1:]:
                node.resume()
            await until_async(lambda: worker.ready, "it is ready again")
            (after,) = await signer.wait(first, timeout_s=60)
            assert isinstance(after, Signature)
            assert after == before
    finally:
        write_rules(rules, [])
    assert signed() == 1


async def test_the_command_line_says_what_is_unconfirmed(
    rig: Rig, worker: WorkerProcess, frozen: list[RedisProcess]
) -> None:
    """The code is `queue.unconfirmed`, and exit status 75 says that the command may be repeated."""
    file = rig.directory / "clients" / "acme" / "client.toml"
    digest = f"sha256:{os.urandom(32).hex()}"
    words = ["--config", str(file), "--key", "release", "--digest", digest, "--json"]
    refused = await asyncio.to_thread(sigmill, "submit", *words, "--deadline", "4s")
    assert refused.returncode == 75, refused.stderr
    assert '"queue.unconfirmed"' in refused.stdout
    taken = await asyncio.to_thread(sigmill, "submit", *words, "--deadline", "20s", "--accept", "local")
    assert taken.returncode == 0, taken.stderr


async def test_a_repeated_submit_is_unconfirmed_while_the_replicas_stand_still(
    rig: Rig, worker: WorkerProcess, nodes: RedisNodes
) -> None:
    """A repeat writes nothing that replicas could confirm; after they are back it returns the first
    signatures.
    """
    async with client(rig) as signer:
        job = await signer.submit("release", digests(3), request_id="repeated", timeout_s=60)
        outcomes = await signer.wait(job, timeout_s=60)
    for node in nodes.nodes[1:]:
        node.pause()
    async with client(rig) as repeating:
        with pytest.raises(QueueUnconfirmed):
            await repeating.submit("release", digests(3), request_id="repeated", timeout_s=2.0)
        for node in nodes.nodes[1:]:
            node.resume()
        job = await repeating.submit("release", digests(3), request_id="repeated", timeout_s=60)
        assert await repeating.wait(job, timeout_s=60) == outcomes, "the same bytes"


async def test_a_result_is_handed_over_when_replicas_have_it(
    rig: Rig, worker: WorkerProcess, nodes: RedisNodes
) -> None:
    """While the replicas are paused, a wait under ``replicated`` has no result, and one under ``local``
    has.
    """
    async with client(rig) as signer, client(rig, accept=AcceptLevel.LOCAL) as local:
        job = await signer.submit("release", digests(3), request_id="handed over", timeout_s=60)
        (part,) = job.parts
        outcomes = await local.wait(part.job_id, timeout_s=60)
        for node in nodes.nodes[1:]:
            node.pause()
        with pytest.raises(WaitTimeout):
            await signer.wait(part.job_id, timeout_s=1.0)
        assert await local.wait(part.job_id, timeout_s=60) == outcomes
        waiting = asyncio.create_task(signer.wait(part.job_id, timeout_s=60))
        for node in nodes.nodes[1:]:
            node.resume()
        assert await waiting == outcomes, "the same bytes"
