"""After a crash between any two steps: a signed job is released once, and is not signed again."""

from __future__ import annotations

import os
import time
from pathlib import Path

from bench.hsm.simhsm import read_log
from queueing import Job, Signature
from queueing.broker.claims import Commit, CommitStatus, Retention
from queueing.protocol import keyspace
from tests.support.farm.farm import digests
from tests.support.rig.rig import MakeRig, Rig
from tests.support.rig.shared_rig import behind_simhsm
from tests.support.waiting import until_async
from workers.cli.shell.output import Exit
from workers.journal.records import (
    IntentRecord,
    OutcomeRecord,
    Record,
    ReleasedRecord,
    UnknownRecord,
    decode_record,
)
from workers.journal.retention import folder_bytes
from workers.journal.segments import read_segment, segments_of

LEASE_S = 4.0


def rig_with(make_rig: MakeRig, *, lease_s: float = LEASE_S, **more: object) -> Rig:
    """Two workers may serve it; one operation takes 0.2 s."""
    rig = make_rig(appendonly=True, worker={"lease_s": lease_s}, token={"acme": "lanes = 1"}, **more)
    rig.wrap = behind_simhsm(rig.directory, sign_us=200_000)
    return rig


def records(rig: Rig, number: int = 1) -> list[Record]:
    folder = rig.state_dir(number) / "wal"
    return [decode_record(raw) for file in segments_of(folder) for raw in read_segment(file)]


def count(rig: Rig, kind: type[Record], number: int = 1) -> int:
    return sum(isinstance(record, kind) for record in records(rig, number))


def signed(rig: Rig) -> int:
    return len(read_log(rig.directory / "acme.simhsm.log"))


async def crash_after_the_outcome(rig: Rig, job: Job) -> None:
    """Kill worker 1 when it has signed one job and Redis does not know."""
    worker = rig.workers[0]
    await until_async(lambda: count(rig, IntentRecord) == 1, "it is sent")
    rig.redis.pause()
    await until_async(lambda: count(rig, OutcomeRecord) == 1, "the outcome is in the log")
    worker.child.kill()
    rig.redis.kill()  # with what the worker had sent and it had not read
    rig.redis.start()
    redis = rig.connect()
    assert not await redis.exists(keyspace.result(job.job_ids[0]))
    await redis.aclose()


async def test_a_start_releases_before_another_worker_can_sign_again(make_rig: MakeRig) -> None:
    """The restarted worker releases under the dead one's lease, while a second worker waits for its end."""
    rig = rig_with(make_rig, lease_s=120.0)
    rig.start_worker(1)
    async with rig.client() as client:
        job = await client.submit("release", digests(1))
        await crash_after_the_outcome(rig, job)
        second = rig.start_worker(2)
        rig.start_worker(1)
        (outcome,) = await client.wait(job, timeout_s=60)
    assert isinstance(outcome, Signature)
    assert signed(rig) == 1
    assert second.metric("sigmill_signatures_total") == 0
    await until_async(lambda: count(rig, ReleasedRecord) == 1, "the release is on record")
    await until_async(lambda: rig.workers[-1].metric("sigmill_signatures_total") == 1, "it is counted")


async def test_a_start_that_comes_too_late_changes_nothing(make_rig: MakeRig) -> None:
    """Another host has claimed and signed the job meanwhile: its result stays, ours is on record as fenced."""
    rig = rig_with(make_rig)
    rig.start_worker(1)
    async with rig.client() as client:
        job = await client.submit("release", digests(1))
        await crash_after_the_outcome(rig, job)
        rig.start_worker(2)
        (first,) = await client.wait(job, timeout_s=60)
        again = rig.start_worker(1)
        await until_async(lambda: count(rig, ReleasedRecord) == 1, "the release is on record")
        (second,) = await client.wait(job, timeout_s=60)
    assert isinstance(first, Signature)
    assert isinstance(second, Signature)
    assert first.signature == second.signature
    (released,) = [record for record in records(rig) if isinstance(record, ReleasedRecord)]
    assert released.how == "fenced"
    await until_async(lambda: again.metric("sigmill_commits_fenced_total") == 1, "it is counted")


async def test_a_crash_between_the_commit_and_its_record(make_rig: MakeRig) -> None:
    """Redis has it: the record is made at the start, the result does not change, and nothing is counted twice."""
    rig = rig_with(make_rig)
    rig.start_worker(1)
    async with rig.client() as client:
        job = await client.submit("release", digests(1))
        await crash_after_the_outcome(rig, job)
        (durable,) = [record for record in records(rig) if isinstance(record, OutcomeRecord)]
        assert await _commit(rig, durable) is CommitStatus.COMMITTED
        again = rig.start_worker(1)
        await until_async(lambda: count(rig, ReleasedRecord) == 1, "the release is on record")
        (outcome,) = await client.wait(job, timeout_s=60)
    assert isinstance(outcome, Signature)
    (released,) = [record for record in records(rig) if isinstance(record, ReleasedRecord)]
    assert released.how == "repeated"
    assert again.metric("sigmill_signatures_total") == 0
    assert signed(rig) == 1


async def _commit(rig: Rig, durable: OutcomeRecord) -> CommitStatus:
    """Send the commit that the killed worker had sent."""
    from queueing.broker.claims import Claims

    redis = rig.connect()
    claims = Claims(redis, owner="ghost", lease_ms=4000)
    commit = Commit(durable.job_id, durable.lease, durable.result, durable.reply_id)
    answer = (await claims.commit({"acme": [commit]}, Retention(result_ms=3_600_000)))["acme"]
    await redis.aclose()
    assert isinstance(answer, list)
    return answer[0]


async def test_two_crashes_in_a_row(make_rig: MakeRig) -> None:
    """The second crash comes before the restarted worker reaches Redis, and the third process releases."""
    rig = rig_with(make_rig)
    rig.start_worker(1)
    async with rig.client() as client:
        job = await client.submit("release", digests(1))
        await crash_after_the_outcome(rig, job)
        rig.redis.pause()
        second = rig.start_worker(1, ready=False)
        await until_async(lambda: count(rig, OutcomeRecord) == 2, "it has written the outcome again")
        second.child.kill()
        rig.redis.resume()
        rig.start_worker(1)
        (outcome,) = await client.wait(job, timeout_s=60)
    assert isinstance(outcome, Signature)
    assert signed(rig) == 1


async def test_an_intent_without_an_outcome_is_closed_as_unknown(make_rig: MakeRig) -> None:
    """The worker is killed while the HSM signs: no client has seen that signature, and the job is signed
    again.
    """
    rig = rig_with(make_rig)
    first = rig.start_worker(1)
    async with rig.client() as client:
        job = await client.submit("release", digests(1))
        await until_async(lambda: count(rig, IntentRecord) == 1, "it is sent")
        first.child.kill()
        rig.start_worker(1)
        await until_async(lambda: count(rig, UnknownRecord) == 1, "it is closed")
        (outcome,) = await client.wait(job, timeout_s=60)
    assert isinstance(outcome, Signature)
    kinds = [type(record) for record in records(rig)]
    assert kinds.count(IntentRecord) == 2
    assert kinds.count(OutcomeRecord) == 1


async def test_a_second_worker_on_one_state_directory_is_refused(make_rig: MakeRig) -> None:
    """The error names the process that has it; when that one was killed, the next may start."""
    rig = rig_with(make_rig)
    first = rig.start_worker(1)
    second = rig.start_worker(1, ready=False)
    await until_async(lambda: not second.alive, "it is refused")
    assert second.child.exit_code == Exit.USAGE
    assert f"belongs to the worker that runs as process {first.pid}" in _end(second.child.log)
    assert "give each worker a state_dir of its own" in _end(second.child.log)
    assert first.ready
    first.child.kill()
    rig.start_worker(1)


def _end(log: Path) -> str:
    return "\n".join(log.read_text().splitlines()[-8:])


async def test_old_segments_go_also_from_an_idle_host(make_rig: MakeRig) -> None:
    """A start removes segments older than ``keep_days``, and the metric has the size of the rest."""
    rig = rig_with(make_rig, service="\n[log]\nkeep_days = 2.0\n")
    folder = rig.state_dir() / "wal"
    async with rig.client() as client:
        for salt in "ab":
            worker = rig.start_worker(1)
            await client.wait(await client.submit("release", digests(1, salt=salt)), timeout_s=60)
            assert worker.child.stop(60) == 0
    old_s = time.time() - 3 * 86400
    first, second = segments_of(folder)
    for file in (first, second):
        os.utime(file, (old_s, old_s))
    third = rig.start_worker(1)
    # Its start is on record too: the second may be no longer the newest one, which always stays.
    await until_async(lambda: first not in segments_of(folder), "the older one is removed")
    await until_async(
        lambda: third.metric("sigmill_log_bytes") == folder_bytes(folder), "the size of the rest is shown"
    )
