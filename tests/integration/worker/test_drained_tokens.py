"""``sigmill tokens drain``: a host stops using a token, and other hosts sign its jobs."""

from __future__ import annotations

import asyncio
import time

from queueing import Signature
from queueing.protocol.algorithms import KeyKind
from tests.support.farm.farm import digests
from tests.support.rig.operator import sigmill
from tests.support.rig.rig import MakeRig, Rig, WorkerProcess, key_block
from tests.support.waiting import until_async
from workers.journal.records import IntentRecord, decode_record
from workers.journal.segments import read_segment, segments_of
from workers.state.drained_tokens import DrainedTokens

BACK_S = 30.0
"""A token that is back is used within this, also on a busy machine."""


def config_of(rig: Rig, number: int, worker: WorkerProcess) -> str:
    return str(rig.config(number, worker.port))


async def tokens(*words: str) -> tuple[int, str]:
    done = await asyncio.to_thread(sigmill, "tokens", *words)
    return done.returncode, done.stdout + done.stderr


async def test_a_drained_tokens_jobs_are_signed_by_another_host(make_rig: MakeRig) -> None:
    """Under load: its lanes finish and log out, every job is signed, and a restart of the worker changes nothing."""
    rig = make_rig(token={"acme": "lanes = 1"})
    first, second = rig.start_worker(1), rig.start_worker(2)
    config = config_of(rig, 1, first)

    async def sign(count: int) -> None:
        async with rig.client() as client:
            outcomes = [o async for o in client.sign_many("release", digests(count), timeout_s=60)]
        assert [o for o in outcomes if not isinstance(o, Signature)] == []

    async with asyncio.TaskGroup() as load:
        load.create_task(sign(8000))
        await until_async(
            lambda: all(w.metric("sigmill_signatures_total", tenant="acme") > 0 for w in (first, second)),
            "both sign",
        )
        code, said = await tokens("drain", "acme", "--config", config)
        assert code == 0, said
    assert "acme" not in first.lanes()
    assert first.metric("sigmill_token_drained", token="acme") == 1
    assert not first.ready, "no lane of it could sign"
    assert second.ready
    await until_async(lambda: first.metric("sigmill_jobs_in_flight") == 0, "it has given back the rest")
    before = first.metric("sigmill_claimed_digests_total")
    await sign(100)
    assert first.metric("sigmill_claimed_digests_total") == before
    assert second.metric("sigmill_token_drained", token="acme") == 0
    first.child.stop(20)
    first = rig.start_worker(1, ready=False)
    await until_async(lambda: first.metric("sigmill_token_drained", token="acme") == 1, "it still knows")
    await sign(100)
    assert first.metric("sigmill_claimed_digests_total") == 0
    code, said = await tokens("resume", "acme", "--config", config_of(rig, 1, first))
    assert (code, "resumed after the drain" in said) == (0, True)
    second.child.stop(20)
    await sign(100)
    assert first.ready


async def test_jobs_of_a_drained_token_wait_where_no_other_host_has_it(make_rig: MakeRig) -> None:
    """The job stays queued while another tenant signs; after the resume every digest is signed."""
    rig = make_rig(tenants=dict.fromkeys(("acme", "globex"), KeyKind.P256))
    worker = rig.start_worker()
    config = config_of(rig, 1, worker)
    async with rig.client() as client:
        await client.sign("release", digests(1)[0], timeout_s=60)
        assert (await tokens("drain", "acme", "--config", config))[0] == 0
        job = await client.submit("release", digests(64))
        async with rig.client("globex") as other:
            await other.sign("release", digests(1)[0], timeout_s=60)
        assert worker.ready, "another tenant's lane can sign"
        assert str((await client.status(job.job_ids[0])).state) == "queued"
        assert "acme" not in worker.lanes()
        code, said = await tokens("list", "--config", config, "--json")
        assert code == 0
        assert '"drained":true' in said
        await tokens("resume", "acme", "--config", config)
        outcomes = await client.wait(job, timeout_s=60)
    assert all(isinstance(outcome, Signature) for outcome in outcomes)
    assert (worker.events("token.drained"), worker.events("token.resumed")) == (1, 1)


def intents(rig: Rig) -> set[bytes]:
    """The jobs of which the worker's log has an intent."""
    logged = (
        decode_record(raw) for file in segments_of(rig.state_dir() / "wal") for raw in read_segment(file)
    )
    return {record.job_id for record in logged if isinstance(record, IntentRecord)}


async def test_jobs_of_a_drained_token_do_not_fill_the_log_while_another_one_of_the_tenant_works(
    make_rig: MakeRig,
) -> None:
    """The tenant is claimed for its other key: these go back without an intent, and are signed after the
    resume.
    """
    rig = make_rig(worker={"slow_poll_s": 1.0})
    rig.tokens |= rig.shelf.get(**{"acme-b": {"acme.nightly.v1": KeyKind.P256}})
    nightly = rig.tokens["acme-b"].keys["acme.nightly.v1"]
    with rig.tenant_file("acme").open("a") as file:
        file.write(key_block("nightly", "acme-b", nightly, ["ECDSA_SHA_256"]))
    worker = rig.start_worker()
    config = config_of(rig, 1, worker)
    async with rig.client() as client:
        assert (await tokens("drain", "acme", "--config", config))[0] == 0
        job = await client.submit("release", digests(64))
        await client.sign("nightly", digests(1)[0], timeout_s=60)
        await until_async(
            lambda: worker.metric("sigmill_jobs_returned_total", reason="token.unavailable") >= 3,
            "the job has come round",
        )
        await client.sign("nightly", digests(1, salt="again")[0], timeout_s=60)
        signed = intents(rig)
        assert len(signed) == 2, "both of the key whose token is in use"
        assert not signed & {job_id.encode() for job_id in job.job_ids}
        await tokens("resume", "acme", "--config", config)
        resumed_at = time.monotonic()
        outcomes = await client.wait(job, timeout_s=60)
    assert all(isinstance(outcome, Signature) for outcome in outcomes)
    assert time.monotonic() - resumed_at < BACK_S


async def test_a_drain_without_a_worker_is_kept_for_the_next(make_rig: MakeRig) -> None:
    """The command reports that no worker answered; a token that is not configured is a mistake."""
    rig = make_rig()
    config = str(rig.config(1))
    code, said = await tokens("drain", "acme", "--config", config, "--wait", "0")
    assert (code, "a worker applies it when it starts" in said) == (75, True)
    assert DrainedTokens(rig.state_dir(1)).names() == {"acme"}
    assert (await tokens("drain", "acmee", "--config", config))[0] == 2
