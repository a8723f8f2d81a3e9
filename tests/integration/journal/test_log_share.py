"""A tenant that fills its share of the log's disk is paused: its neighbour is served, and its jobs wait and
are not lost.
"""

from __future__ import annotations

import asyncio
import os

from queueing import Signature
from queueing.protocol import keyspace
from queueing.protocol.algorithms import KeyKind
from tests.support.disk.disks import small_disk
from tests.support.farm.farm import digests
from tests.support.rig.operator import sigmill
from tests.support.rig.rig import MakeRig
from tests.support.waiting import until_async
from workers.cli.signing.wait_reason import wait_reason

FREE_BYTES = 1024 * 1024
JOBS = 1500
"""Of one digest, some 850 bytes in the log: more than is free, and twice the share."""


async def test_a_tenant_is_paused_at_its_share_and_continues_when_there_is_space(make_rig: MakeRig) -> None:
    """Its client is told why it waits, and the operator which tenant it is. All accepted jobs are signed at last."""
    rig = make_rig(tenants={"acme": KeyKind.P256, "globex": KeyKind.P256}, worker={"claim_jobs": 64})
    disk = rig.state_dir() / "wal"
    with small_disk(disk, 4 * FREE_BYTES):
        filler = disk / "filler"
        filler.write_bytes(bytes(3 * FREE_BYTES))
        worker = rig.start_worker()
        async with rig.client("acme") as acme, rig.client("globex") as globex:
            jobs = [await acme.submit("release", digests(1)) for _ in range(JOBS)]
            await until_async(
                lambda: (
                    worker.metric("sigmill_log_share_used_ratio", tenant="acme") > 1
                    and worker.metric("sigmill_jobs_in_flight") == 0
                ),
                "acme is paused, and what was claimed is finished",
            )
            redis = rig.connect()
            waiting = await redis.zcard(keyspace.queue("acme"))
            assert 0 < waiting < JOBS
            for _ in range(3):
                assert isinstance(await globex.sign("release", os.urandom(32), timeout_s=60), Signature)
            assert await redis.zcard(keyspace.queue("acme")) == waiting
            assert worker.metric("sigmill_log_failing") == 0
            answers = asyncio.ensure_future(asyncio.gather(*(acme.wait(job, timeout_s=90) for job in jobs)))
            reason = ""
            while "filled its share" not in reason:
                await asyncio.sleep(0.2)
                reason = await wait_reason(acme)
            shown = sigmill("status", "--config", str(rig.config())).stderr
            while "claims no jobs of acme" not in shown:
                shown = sigmill("status", "--config", str(rig.config())).stderr
            filler.unlink()
            assert all(isinstance(outcome, Signature) for (outcome,) in await answers)
            assert worker.metric("sigmill_log_share_used_ratio", tenant="globex") < 1
            await redis.aclose()
        assert (worker.events("log.share_used"), worker.events("log.share_free")) == (1, 1)
