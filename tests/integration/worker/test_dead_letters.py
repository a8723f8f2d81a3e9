"""A job that breaks every lane becomes a dead letter with its evidence, which an operator lists, requeues or
drops.
"""

from __future__ import annotations

import hashlib
import json
import os

from bench.hsm.simhsm import write_rules
from queueing import Signature
from queueing.errors import JobPoisoned
from tests.support.rig.operator import sigmill
from tests.support.rig.rig import MakeRig, Rig
from tests.support.rig.shared_rig import behind_simhsm
from tests.support.waiting import until_async


async def poison(rig: Rig, digest: bytes) -> None:
    """Every lane that is given this digest exits, as SoftHSM does for an oversized input."""
    write_rules(rig.directory / "acme.faults", [f"C_Sign exit=5 tail={digest[-8:].hex()}"])


def deadletter(rig: Rig, *words: str) -> list[dict[str, object]]:
    ran = sigmill("deadletter", *words, "--json", "--config", str(rig.config()))
    assert ran.returncode == 0, ran.stderr + ran.stdout
    return [json.loads(line) for line in ran.stdout.splitlines()]


async def test_a_poisoned_job_is_kept_shown_and_signed_when_it_is_tried_again(make_rig: MakeRig) -> None:
    """The client gets JobPoisoned; once the module is repaired and the job requeued, it gets the
    signature.
    """
    rig = make_rig()
    rig.wrap = behind_simhsm(rig.directory)
    bad = hashlib.sha256(b"poison").digest()
    await poison(rig, bad)
    worker = rig.start_worker()
    async with rig.client() as client:
        job = await client.submit("release", [bad], request_id="build-1")
        (outcome,) = await client.wait(job, timeout_s=40)
        assert isinstance(outcome, JobPoisoned)
        (line,) = deadletter(rig, "list")
        assert (line["job_id"], line["code"], line["digests"]) == (job.job_ids[0], "job.poisoned", 1)
        assert line["lane_ends"] == ["exit_5"] * 3
        assert deadletter(rig, "show", job.job_ids[0]) == [line]
        await until_async(lambda: worker.events("job.dead") == 1, "it is in the log")
        write_rules(rig.directory / "acme.faults", [])
        assert deadletter(rig, "retry", job.job_ids[0]) == [{"job_id": job.job_ids[0], "outcome": "queued"}]
        again = await client.submit("release", [bad], request_id="build-1")
        assert again.job_ids == job.job_ids
        (outcome,) = await client.wait(again, timeout_s=40)
        assert isinstance(outcome, Signature)
    assert deadletter(rig, "list") == []


async def test_dead_letters_are_dropped_by_name_or_all(make_rig: MakeRig) -> None:
    """An unknown id is an error, and drops no dead letter."""
    rig = make_rig()
    rig.wrap = behind_simhsm(rig.directory)
    bad = os.urandom(32)
    await poison(rig, bad)
    rig.start_worker()
    async with rig.client() as client:
        job = await client.submit("release", [bad])
        await client.wait(job, timeout_s=40)
    config = str(rig.config())
    ran = sigmill("deadletter", "drop", job.job_ids[0], "{acme}none", "--config", config)
    assert (ran.returncode, "job.unknown" in ran.stderr) == (1, True)
    assert sigmill("deadletter", "drop", "--config", config).returncode == 2
    assert len(deadletter(rig, "list", "--tenant", "acme")) == 1
    assert deadletter(rig, "drop", "--all") == [{"job_id": job.job_ids[0], "outcome": "dropped"}]
    assert deadletter(rig, "list") == []
