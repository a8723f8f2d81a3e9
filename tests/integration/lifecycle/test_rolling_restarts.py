"""Every worker is restarted in turn, again and again, under load: every counter stays right."""

from __future__ import annotations

import asyncio
from collections import Counter

import msgspec
import pytest

from bench.hsm.simhsm import read_log
from queueing import Job, Signature, SigningClient
from queueing.protocol import keyspace
from queueing.protocol.jobs import JobOutcome, decode_result
from tests.support.farm.farm import digests
from tests.support.rig.rig import MakeRig, Rig, WorkerProcess
from tests.support.rig.shared_rig import behind_simhsm
from tests.support.waiting import until_async
from workers.journal.records import (
    IntentRecord,
    OutcomeRecord,
    Record,
    ReleasedRecord,
    ReturnedRecord,
    UnknownRecord,
    decode_record,
)
from workers.journal.segments import read_segment, segments_of

WORKERS = 2
BATCH = 320
HANG_S = 300.0
AT_ONCE = 6
"""Batches of one client that wait: more than the lanes can take, so that a drain finds something to return."""


class Batches:
    """Submits batches until stopped; all of them are waited for."""

    def __init__(self, client: SigningClient) -> None:
        self._client = client
        self.jobs: list[Job] = []
        self.stopped = False
        self._batches = 0

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(AT_ONCE):
                tasks.create_task(self._one_after_the_other())

    async def _one_after_the_other(self) -> None:
        while not self.stopped:
            self._batches += 1
            fresh = digests(BATCH, salt=f"batch-{self._batches}-")
            self.jobs.append(job := await self._client.submit("release", fresh))
            outcomes = await self._client.wait(job, timeout_s=HANG_S)
            assert [type(outcome) for outcome in outcomes] == [Signature] * BATCH


def records(rig: Rig) -> list[Record]:
    """Of all workers' logs."""
    return [
        decode_record(raw)
        for number in range(1, WORKERS + 1)
        for file in segments_of(rig.state_dir(number) / "wal")
        for raw in read_segment(file)
    ]


def signatures(outcome: OutcomeRecord) -> int:
    result = decode_result(outcome.result).outcome
    return len(result.signatures) if isinstance(result, JobOutcome) else 0


class _Attempt(msgspec.Struct):
    t: int


def attempts(outcome: OutcomeRecord) -> int:
    return msgspec.msgpack.decode(outcome.result, type=_Attempt).t


async def _restarted(
    rig: Rig, number: int, worker: WorkerProcess, loading: asyncio.Task[None]
) -> WorkerProcess:
    """SIGTERM while it signs, and the next one in its place when it has ended. Raises what ends the load meanwhile."""
    signing = worker.metric("sigmill_signatures_total") + 1

    def is_busy() -> bool:
        if loading.done():
            loading.result()
        signed, jobs = worker.metric("sigmill_signatures_total"), worker.metric("sigmill_jobs_in_flight")
        return signed >= signing and jobs > 2

    await until_async(is_busy, "it signs, and has jobs that no lane has begun")
    worker.child.terminate()
    await until_async(lambda: not worker.alive, "it ends")
    assert worker.child.exit_code == 0, worker.child.log_tail(30)
    successor = rig.start_worker(number, ready=False)
    await until_async(lambda: successor.ready, "the next one is ready")
    return successor


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "rounds", [pytest.param(3, id="three"), pytest.param(20, id="twenty", marks=pytest.mark.slow)]
)
async def test_rolling_restarts_leave_every_counter_right(make_rig: MakeRig, rounds: int) -> None:
    """As the client, the HSM, the workers' logs and the last workers' metrics count."""
    rig = make_rig(token={"acme": "lanes = 1"}, worker={"chunk_target_s": 0.03, "drain_s": 120.0})
    rig.wrap = behind_simhsm(rig.directory, sign_us=2_000)
    present = {number: rig.start_worker(number) for number in range(1, WORKERS + 1)}
    async with rig.client() as client:
        load = Batches(client)
        loading = asyncio.create_task(load.run())
        for _ in range(rounds):
            for number, worker in present.items():
                present[number] = await _restarted(rig, number, worker, loading)
        load.stopped = True
        await loading
        submitted = BATCH * len(load.jobs)
        job_ids = {job_id.encode() for job in load.jobs for job_id in job.job_ids}

    signed = Counter(record.input_tail for record in read_log(rig.directory / "acme.simhsm.log"))
    assert (signed.total(), set(signed.values())) == (submitted, {1}), "the HSM signed something twice"

    redis = rig.connect()
    assert await redis.zcard(keyspace.queue("acme")) == 0
    assert not [key async for key in redis.scan_iter("arq:in-progress:*")]
    await redis.aclose()

    last = {worker.pid: worker for worker in present.values()}
    by_process = {pid: worker.metric("sigmill_signatures_total") for pid, worker in last.items()}
    for worker in last.values():
        assert worker.metric("sigmill_commits_fenced_total") == 0
        assert worker.metric("sigmill_jobs_total", outcome="job.poisoned") == 0
        assert worker.child.stop(20) == 0  # its last records are written
    log = records(rig)
    outcomes = {(r.job_id, r.lease): r for r in log if isinstance(r, OutcomeRecord)}
    released = [r for r in log if isinstance(r, ReleasedRecord)]
    assert {r.how for r in released} == {"committed"}
    assert Counter(r.job_id for r in released) == dict.fromkeys(job_ids, 1)
    assert sum(signatures(outcomes[r.job_id, r.lease]) for r in released) == submitted
    assert {attempts(outcome) for outcome in outcomes.values()} == {1}
    assert not any(isinstance(r, UnknownRecord) for r in log)
    returned = [r for r in log if isinstance(r, ReturnedRecord)]
    assert returned, "no drain had anything to return"
    assert not any(r.maybe_signed for r in returned)
    assert sum(isinstance(r, IntentRecord) for r in log) == len(released) + len(returned_after_intent(log))
    for pid, counted in by_process.items():
        own = [r for r in released if r.lease.split(b":")[0].split(b".")[-2] == str(pid).encode()]
        assert sum(signatures(outcomes[r.job_id, r.lease]) for r in own) == counted


def returned_after_intent(log: list[Record]) -> set[tuple[bytes, bytes]]:
    """Claims that were about to be signed when they went back; others had not come so far."""
    intents = {(r.job_id, r.lease) for r in log if isinstance(r, IntentRecord)}
    return {(r.job_id, r.lease) for r in log if isinstance(r, ReturnedRecord)} & intents
