"""Three nodes and three Sentinels: the primary dies, hangs or is demoted under load, and no digest is
lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from queueing import SigningClient
from tests.support.hsm.tokens import TokenShelf
from tests.support.redis.nodes import RedisNodes
from tests.support.redis.process import RedisProcess
from tests.support.relay.relay_process import RelayProcess
from tests.support.rig.rig import Rig, WorkerProcess
from tests.support.rig.shared_rig import behind_simhsm
from tests.support.rig.under_load import under_load
from tests.support.waiting import until_async
from workers.dev.tenants import AUDIENCE

FAILS_OVER_WITHIN_S = 30.0
"""The Sentinels' own matter: one second until they believe it, then an election, repeated where they disagree."""


@dataclass(frozen=True, slots=True)
class FailoverRig:
    """Clients and worker find the primary by the Sentinels, and count what ``replicas`` have."""

    nodes: RedisNodes
    rig: Rig
    worker: WorkerProcess
    replicas: int

    def answers(self, old: RedisProcess) -> bool:
        """Whether another node than ``old`` is the primary, with as many replicas as a write has to have."""
        node = self.nodes.primary(besides=old)
        return node is not None and self.nodes.followers(node) >= self.replicas

    async def whole(self) -> RedisProcess:
        """The primary, when all nodes are there and linked."""
        primary: list[RedisProcess] = []

        def is_whole() -> bool:
            found = self.nodes.primary()
            primary[:] = [found] if found is not None else []
            return found is not None and self.nodes.followers(found) == len(self.nodes.nodes) - 1

        await until_async(is_whole, "all nodes are linked", within_s=FAILS_OVER_WITHIN_S)
        return primary[0]

    async def survive(
        self,
        fault: Callable[[RedisProcess], Awaitable[None]],
        *,
        afterwards: Callable[[RedisProcess], None] = lambda _: None,
    ) -> None:
        """Same processes before and after, one outcome per digest, work within 2 s of the new primary's answer."""
        old = await self.whole()
        async with under_load(self.rig, self.worker) as load:
            began = time.monotonic()
            await fault(old)
            await until_async(lambda: self.answers(old), "another primary", within_s=FAILS_OVER_WITHIN_S)
            answered_s = time.monotonic() - began
            await load.resumes()
            afterwards(old)
            await asyncio.sleep(1.0)  # load beside the old primary, if it is back
        print(  # noqa: T201 - a figure, shown with -s
            f"another primary, with {self.replicas} replicas, after {answered_s:.1f} s, resumed"
            f" {load.resumed_s:.2f} s later"
        )


@contextlib.contextmanager
def failover_rig_with(replicas: int, folder: Path, shelf: TokenShelf) -> Iterator[FailoverRig]:
    with RedisNodes(folder / "nodes", sentinels=3) as nodes:
        levels = ('accept = "replicated"', f"replicas = {replicas}", "replica_timeout_s = 0.3")
        rig = Rig(
            directory=folder / "rig",
            redis=nodes.nodes[0],
            shelf=shelf,
            worker={"slow_poll_s": 1.0},
            wrap=behind_simhsm(folder / "rig", sign_us=500),
            redis_table=nodes.table(*levels),
        )
        with rig:
            yield FailoverRig(nodes, rig, rig.start_worker(), replicas)


@pytest.fixture(scope="module")
def failover_rig(shelf: TokenShelf, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FailoverRig]:
    """One worker for all cases."""
    with failover_rig_with(1, tmp_path_factory.mktemp("failovers"), shelf) as made:
        yield made


async def test_a_relay_follows_the_primary_by_the_sentinels(
    failover_rig: FailoverRig, tmp_path: Path
) -> None:
    """With a worker's table and accept level it finds the new primary, and its clients lose nothing."""
    rig, old = failover_rig.rig, await failover_rig.whole()
    table = f'password_file = "{rig.directory / "redis-password"}"\n{rig.redis_table}'
    relay = RelayProcess(folder=tmp_path / "relay", audience=AUDIENCE, redis=table)
    relay.start()
    try:
        client = SigningClient(relay.client_config(rig.client_config("acme")), rig.keys["acme"])
        async with under_load(rig, failover_rig.worker, client=client) as load:
            await asyncio.to_thread(old.kill)
            await until_async(
                lambda: failover_rig.answers(old), "another primary", within_s=FAILS_OVER_WITHIN_S
            )
            before = len(load.outcomes)
            await until_async(lambda: len(load.outcomes) > before + 64, "digests are signed again")
        assert relay.answers()
    finally:
        relay.kill()
        for node in failover_rig.nodes.nodes:
            node.start()


async def test_the_primary_crashes(failover_rig: FailoverRig) -> None:
    """The Sentinels promote the replica that has most, so one replica per write is enough."""

    async def crash(primary: RedisProcess) -> None:
        await asyncio.to_thread(primary.kill)

    await failover_rig.survive(crash)
    for node in failover_rig.nodes.nodes:
        node.start()  # the old primary, which becomes a replica


async def test_the_primary_hangs_and_comes_back(failover_rig: FailoverRig) -> None:
    """SIGSTOP until another node is primary, then SIGCONT: its old state has no effect."""

    async def hang(primary: RedisProcess) -> None:
        primary.pause()
        await until_async(
            lambda: failover_rig.answers(primary), "another primary", within_s=FAILS_OVER_WITHIN_S
        )

    await failover_rig.survive(hang, afterwards=RedisProcess.resume)


async def test_an_operator_pauses_writes_and_fails_over(failover_rig: FailoverRig) -> None:
    """As documented: the replicas catch up, one is promoted, and clients of the old primary are
    disconnected.
    """

    async def fail_over(primary: RedisProcess) -> None:
        await asyncio.to_thread(failover_rig.nodes.pause_writes, primary)
        failover_rig.nodes.fail_over()
        await until_async(
            lambda: failover_rig.answers(primary), "another primary", within_s=FAILS_OVER_WITHIN_S
        )
        primary.command("CLIENT", "KILL", "TYPE", "normal")

    await failover_rig.survive(fail_over)
    for node in failover_rig.nodes.nodes:
        node.command("CLIENT", "UNPAUSE")


@pytest.mark.slow
async def test_an_operator_just_fails_over(shelf: TokenShelf, tmp_path: Path) -> None:
    """The old primary is well and says OK for seconds, and so does the replica that still follows it: only a write that
    all replicas have is safe, and none is accepted until the old primary has become one.
    """

    async def fail_over(_: RedisProcess) -> None:
        careful.nodes.fail_over()

    with failover_rig_with(2, tmp_path, shelf) as careful:
        await careful.survive(fail_over)
