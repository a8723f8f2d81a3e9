"""The HSM is away for longer than leases and envelopes last: accepted jobs wait, keep their order, and are
signed.
"""

from __future__ import annotations

import asyncio
import os
import time

import msgspec
import pytest

from bench.hsm.simhsm import read_log, write_rules
from queueing import ClientConfig, Signature, SigningClient
from queueing.errors import WaitTimeout
from queueing.protocol import keyspace
from tests.support.farm.farm import digests
from tests.support.rig.rig import MakeRig, Rig
from tests.support.rig.shared_rig import behind_simhsm
from tests.support.waiting import until_async

OUTAGE_S = 15.0
"""Some twenty attempts on the token; a lease is 2 s, an impatient client's envelope lasts 3 s."""

TRIED_FIRST = 3
"""These may have been tried before the circuit opened: then they are due a second later, behind those that were not."""

SIDE_BY_SIDE = 8
"""Two sessions sign a chunk of several jobs."""


def broken(rig: Rig, how: str) -> None:
    write_rules(rig.directory / "acme.faults", [f"C_Sign {how}"])


def impatient(rig: Rig) -> ClientConfig:
    """Configuration of a client whose envelopes expire in the outage, and which renews them while it waits."""
    return msgspec.structs.replace(rig.client_config("acme"), envelope_ttl_s=3.0)


@pytest.mark.parametrize(
    "how",
    [
        "rv=0x30",  # CKR_DEVICE_ERROR: lane after lane gives up
        "rv=0x32",  # CKR_DEVICE_REMOVED: the circuit opens at once
        pytest.param("hang", marks=pytest.mark.slow),  # calls do not come back: the watchdog ends the lanes
        pytest.param("segv", marks=pytest.mark.slow),  # the module crashes at each call
    ],
)
async def test_an_outage_ends_no_job(make_rig: MakeRig, how: str) -> None:
    """Every job is signed afterwards in its order; of a module that crashes, one job at most is blamed."""
    rig = make_rig(
        worker={"lease_s": 2.0, "poison_attempts": 3},
        token={"acme": "lanes = 1\ncall_timeout_s = 0.5"},
    )
    rig.wrap = behind_simhsm(rig.directory, sign_us=500)
    worker = rig.start_worker()
    async with rig.client() as client, SigningClient(impatient(rig), rig.keys["acme"]) as hasty:
        await client.sign("release", os.urandom(32), timeout_s=60)
        broken(rig, how)
        jobs = [await client.submit("release", digests(8, salt=f"{i}"), request_id=f"{i}") for i in range(60)]
        abandoned = await hasty.submit("release", digests(1, salt="abandoned"))
        waiting = asyncio.create_task(hasty.sign("release", os.urandom(32), timeout_s=90))
        began = time.monotonic()
        await until_async(lambda: worker.metric("sigmill_token_circuit_open", token="acme") == 1, "it opens")
        with pytest.raises(WaitTimeout):
            await client.wait(jobs[0], timeout_s=1)
        await asyncio.sleep(OUTAGE_S - (time.monotonic() - began))
        redis = rig.connect()
        assert await redis.zcard(keyspace.queue("acme")) >= len(jobs)
        await redis.aclose()
        write_rules(rig.directory / "acme.faults", [])
        outcomes = [await client.wait(job, timeout_s=40) for job in jobs]
        assert isinstance(await waiting, Signature), "the client that waited renewed its envelope"
        (gone,) = await hasty.wait(abandoned, timeout_s=60)
        assert isinstance(gone, Signature), "it is renewed when its client waits for it again"
    innocent = [[type(outcome) for outcome in each] == [Signature] * 8 for each in outcomes]
    assert innocent.count(False) <= (how == "segv"), "one job at most is blamed for a module that crashes"
    if how != "segv":
        assert worker.metric("sigmill_jobs_total", outcome="job.poisoned") == 0
        first_signed = {digests(8, salt=f"{i}")[0][-8:]: i for i in range(60)}
        records = read_log(rig.directory / "acme.simhsm.log")
        order = [first_signed[r.input_tail] for r in records if not r.rv and r.input_tail in first_signed]
        assert sorted(set(order)) == list(range(60))
        waited = [number for number in order if number >= TRIED_FIRST]
        late = [max(waited[: at + 1]) - number for at, number in enumerate(waited)]
        assert max(late) <= SIDE_BY_SIDE, f"the order is not kept: {order}"
