"""Faults of clients."""

from __future__ import annotations

import asyncio
import contextlib
import sys

from tests.faults.harness.observed_rig import ROOT
from tests.faults.injections.scene import Scene
from tests.faults.injections.schedule import Draw


async def many_submit_the_same(scene: Scene, draw: Draw) -> None:
    """The same request from all clients, several times each, before and after it is done."""
    load = scene.load
    digests, request = load.digests(draw.tenant, scene.rng), load.request_id()
    for _ in range(2):
        clients = load.clients[draw.tenant] * 4
        jobs = await asyncio.gather(*(load.accepted(client, digests, request) for client in clients))
        waits = zip(clients, jobs, strict=True)
        await asyncio.gather(*(load.answered(client, job) for client, job in waits if job is not None))


async def conflicting_submit(scene: Scene, draw: Draw) -> None:
    """Other content under the id of a job that is there: refused, and nothing of it is signed."""
    load, client = scene.load, scene.load.clients[draw.tenant][0]
    request, digests = load.request_id(), load.digests(draw.tenant, scene.rng)
    job = await load.accepted(client, digests, request)
    for _ in range(2):  # while it waits or is signed, and when it is done
        other = load.digests(draw.tenant, scene.rng)
        await client.submit(other, request, in_place_of=digests)
        if job is not None:
            await load.answered(client, job)


async def client_killed(scene: Scene, draw: Draw) -> None:
    """A client's process is killed once it has submitted, or before; another one asks again under the same request."""
    load, tenant = scene.load, draw.tenant
    digests, request = load.digests(tenant, scene.rng), load.request_id()
    file = scene.harness.rig.directory / "clients" / tenant / "client.toml"
    words = [
        "-m",
        "tests.faults.harness.client_process",
        str(file),
        request,
        *(digest.hex() for digest in digests),
    ]
    with (scene.harness.rig.directory / "killed-client.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *words, stdout=asyncio.subprocess.PIPE, stderr=log, cwd=ROOT
        )
        assert process.stdout is not None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(3 * draw.hold_s):
                await process.stdout.readline()
        with contextlib.suppress(ProcessLookupError):  # it may have its result already
            process.kill()
        await process.wait()
    client = load.clients[tenant][0]
    job = await load.accepted(client, digests, request)
    if job is not None:
        await load.answered(client, job)
