"""Thousands of tenants configured, a few active: start, memory, idle load, metrics and reloads stay bounded."""

from __future__ import annotations

import asyncio
import os
import time

import pytest

from queueing import Signature
from queueing.errors import ClientRevoked
from queueing.protocol.algorithms import KeyKind
from tests.support.fakes.config_files import p256_key, tenant_text
from tests.support.rig.operator import edit, reload
from tests.support.rig.rig import MakeRig, Rig
from tests.support.waiting import until

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.parametrize("idle", [2000, pytest.param(5000, marks=pytest.mark.slow)]),
]
"""The start writes and reads a file per tenant, and publishes as many directories: minutes, where others have the cores."""

ACTIVE = {"acme": KeyKind.P256, "globex": KeyKind.P256}


def add_idle_tenants(rig: Rig, idle: int) -> None:
    """Each with a token of its own that is not there: a worker looks for a token when it has a job for it."""
    rig.service += "".join(
        f'[tokens.t{i}]\nmodule = "/nowhere.so"\nselect = {{ label = "t{i}" }}\nlogin = "none"\n'
        for i in range(idle)
    )
    for i in range(idle):
        rig.tenant_file(f"t{i}").write_text(tenant_text(f"t{i}", p256_key(1000 + i)))


async def scripts_run(rig: Rig) -> int:
    redis = rig.connect()
    stats = await redis.info("commandstats")
    await redis.aclose()
    return int(stats.get("cmdstat_evalsha", {}).get("calls", 0))


async def test_thousands_of_idle_tenants_cost_little(make_rig: MakeRig, idle: int) -> None:
    """Ready within seconds; the active ones sign; idle, a few hundred scripts a second at most; metrics bounded."""
    rig = make_rig(tenants=ACTIVE, worker={"slow_poll_s": 1.0})
    add_idle_tenants(rig, idle)
    worker = rig.start_worker()
    assert worker.cpu_s < 0.003 * idle
    for tenant in ACTIVE:
        async with rig.client(tenant) as client:
            assert isinstance(await client.sign("release", os.urandom(32), timeout_s=60), Signature)
    until(
        lambda: worker.metric("sigmill_directories_published_total", outcome="published") >= idle,
        "every directory is published",
        within_s=400,
    )
    before, began = await scripts_run(rig), time.monotonic()
    await asyncio.sleep(4.0)  # the time over which scripts are counted
    assert (await scripts_run(rig) - before) / (time.monotonic() - began) < 300
    assert worker.rss_mib < 100 + 0.03 * idle
    lines = [x for x in worker.get("/metrics")[1].splitlines() if not x.startswith("#")]
    assert len(lines) < 2000
    assert worker.metric("sigmill_tenants") == idle + 2
    assert set(worker.lanes()) <= {"acme", "globex", "service"}


async def test_a_change_of_two_of_thousands_touches_no_other(make_rig: MakeRig, idle: int) -> None:
    """A tenant among the last is revoked while the worker is busy; what a reload costs is a row of the bench."""
    rig = make_rig(tenants=ACTIVE)
    add_idle_tenants(rig, idle)
    rig.start_worker()
    config, last = rig.directory / "sigmill-1.toml", f"t{idle - 1}"
    async with rig.client() as client:
        assert isinstance(await client.sign("release", os.urandom(32), timeout_s=60), Signature)
        edit(rig.tenant_file("acme"), "[clients.build-1]", '[clients.build-1]\nstate = "revoked"')
        edit(rig.tenant_file(last), "[clients.build-1]", '[clients.build-1]\nstate = "revoked"')
        (report,) = await asyncio.to_thread(reload, config)
        assert (report["outcome"], report["tenants"]) == ("adopted", idle + 2)
        assert report["changed"] == ["acme", last]
        with pytest.raises(ClientRevoked):
            await client.sign("release", os.urandom(32), timeout_s=60)
