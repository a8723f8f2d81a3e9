"""Logs of real runs: every name is in the table, a job is found by its id on every host, and nothing secret is there."""

from __future__ import annotations

import base64
import json
from typing import Any

from queueing import Signature
from tests.support.farm.farm import digests
from tests.support.rig.operator import edit, reload
from tests.support.rig.rig import MakeRig, WorkerProcess
from tests.support.rig.shared_rig import behind_simhsm
from tests.support.waiting import until_async
from workers.telemetry.log_events import EVENTS


def lines_of(worker: WorkerProcess) -> list[dict[str, Any]]:
    return [json.loads(line) for line in worker.log().splitlines()]


async def test_a_job_is_found_by_its_id_in_the_logs_of_every_host(make_rig: MakeRig) -> None:
    """Claimed and given back by one, claimed and released by the other; no digest and no signature is with it."""
    rig = make_rig(token={"acme": "lanes = 1"}, worker={"drain_s": 4.0}, service="\n[logging]\njobs = true\n")
    as_it_is = rig.wrap
    rig.wrap = behind_simhsm(rig.directory, sign_us=2_000_000)
    first = rig.start_worker(1)
    given = digests(64)
    async with rig.client() as client:
        job = await client.submit("release", given)
        (job_id,) = job.job_ids
        await until_async(lambda: first.events("jobs.claimed") == 1, "the first has it")
        first.child.stop(20)
        rig.wrap = as_it_is
        second = rig.start_worker(2)
        outcomes = await client.wait(job, timeout_s=60)
    await until_async(lambda: second.events("jobs.released") >= 1, "it is said")
    ways = [
        [(line["event"], line["tenant"]) for line in lines_of(worker) if job_id in line.get("jobs", ())]
        for worker in (first, second)
        if all({"ts", "level", "logger", "event"} <= line.keys() for line in lines_of(worker))
    ]
    assert ways == [
        [("jobs.claimed", "acme"), ("jobs.returned", "acme")],
        [("jobs.claimed", "acme"), ("jobs.released", "acme")],
    ]
    secret = [each for outcome in outcomes if isinstance(outcome, Signature) for each in (outcome.signature,)]
    for worker in (first, second):
        assert {line["event"] for line in lines_of(worker)} <= EVENTS.keys()
        for line in lines_of(worker):
            assert line.keys() - {"ts", "level", "logger", "event", "exception"} <= set(
                EVENTS[line["event"]].fields
            )
        for value in (*given, *secret):
            assert value.hex() not in worker.log()
            assert base64.b64encode(value).decode() not in worker.log()


async def test_a_reload_turns_jobs_lines_on_and_off(make_rig: MakeRig) -> None:
    """They are off by default, on after one reload, and off after the next."""
    rig = make_rig()
    worker = rig.start_worker()
    config = rig.config(1, worker.port)
    async with rig.client() as client:
        await client.sign("release", digests(1)[0], timeout_s=60)
        assert worker.events("jobs.claimed") == 0
        config.write_text(config.read_text() + "\n[logging]\njobs = true\n")
        edit(config, "jobs = true", "jobs = true ")
        reload(config)
        await client.sign("release", digests(2)[1], timeout_s=60)
        await until_async(lambda: worker.events("jobs.released") == 1, "it is said")
        edit(config, "jobs = true ", "jobs = false")
        reload(config)
        claimed = worker.events("jobs.claimed")
        await client.sign("release", digests(3)[2], timeout_s=60)
        assert worker.events("jobs.claimed") == claimed
    assert {line["event"] for line in lines_of(worker)} <= EVENTS.keys()
