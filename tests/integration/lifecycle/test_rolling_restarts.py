"""Every worker is restarted in turn, again and again, under load: every counter stays right."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

import msgspec
import pytest
from msgspec.structs import replace

from bench.hsm.simhsm import read_log, write_rules
from queueing import Job, Signature, SigningClient
from queueing.protocol import keyspace
from queueing.protocol.jobs import JobOutcome, decode_result
from tests.support.farm.farm import digests
from tests.support.rig.rig import MakeRig, Rig, WorkerProcess
from tests.support.rig.shared_rig import behind_simhsm
from tests.support.waiting import until_async
from workers.config.settings import TokenSettings
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
SESSIONS = 8
JOB = 3
"""Digests of a job: some end within a chunk, which has as many as there are sessions."""

BATCH = 40
"""Jobs that wait at once: more than both workers claim, which is two chunks for each lane and as much again."""

BEGUN_AT_MOST = 7
"""Jobs of which a lane has something: its two chunks have 16 digests, of consecutive jobs."""

HANG_S = 300.0


class Batches:
    """Submits batches without end, the next one when the last is signed; paused between two of them."""

    def __init__(self, client: SigningClient, tasks: asyncio.TaskGroup) -> None:
        self._client = client
        self._tasks = tasks
        self.jobs: list[Job] = []
        self._running: asyncio.Task[None] | None = None
        self._over = False

    def resume(self) -> None:
        self._over, self._running = False, self._tasks.create_task(self._run())

    async def pause(self) -> None:
        """Return when everything is signed."""
        assert self._running is not None
        self._over = True
        await self._running

    async def _run(self) -> None:
        while not self._over:
            jobs = [await self._submit() for _ in range(BATCH)]
            for job in jobs:
                outcomes = await self._client.wait(job, timeout_s=HANG_S)
                assert [type(outcome) for outcome in outcomes] == [Signature] * JOB

    async def _submit(self) -> Job:
        job = await self._client.submit("release", digests(JOB, salt=f"{len(self.jobs)}-"))
        self.jobs.append(job)
        return job


def with_sessions(rig: Rig) -> Callable[[TokenSettings], TokenSettings]:
    """Simulated HSMs with ``SESSIONS`` sessions."""
    simulated = behind_simhsm(rig.directory, sign_us=2_000)
    return lambda settings: replace(simulated(settings), sessions=SESSIONS)


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


async def _restarted(rig: Rig, number: int, worker: WorkerProcess, load: Batches) -> WorkerProcess:
    """SIGTERM while the HSM has some of its jobs and no lane has begun the others; the next one when it has ended.

    The HSM holds its calls from before these jobs exist until the worker drains: no speed decides what is begun then.
    """
    await until_async(lambda: worker.metric("sigmill_signatures_total") > 0, "its lane signs")
    await load.pause()
    await until_async(lambda: worker.metric("sigmill_jobs_in_flight") == 0, "all is committed")
    rules = rig.directory / "acme.faults"
    write_rules(rules, ["C_Sign hold"])
    load.resume()
    await until_async(
        lambda: worker.metric("sigmill_jobs_in_flight") > BEGUN_AT_MOST, "it has jobs that no lane has begun"
    )
    drains = worker.events("service.draining")  # of those before it, in the same log
    worker.child.terminate()
    await until_async(lambda: worker.events("service.draining") > drains, "it drains")
    write_rules(rules, [])
    await until_async(lambda: not worker.alive, "it ends")
    assert worker.child.exit_code == 0, worker.child.log_tail(30)
    return rig.start_worker(number, ready=False)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "rounds", [pytest.param(2, id="two"), pytest.param(20, id="twenty", marks=pytest.mark.slow)]
)
async def test_rolling_restarts_leave_every_counter_right(make_rig: MakeRig, rounds: int) -> None:
    """Client, HSM, the workers' logs and the last workers' metrics count the same jobs and signatures."""
    rig = make_rig(
        token={"acme": "lanes = 1\ncall_timeout_s = 100.0"},
        worker={"chunk_target_s": 0.001, "drain_s": 120.0},
    )
    rig.wrap = with_sessions(rig)
    present = {number: rig.start_worker(number, ready=False) for number in range(1, WORKERS + 1)}
    restarted: list[int] = []
    async with rig.client() as client, asyncio.TaskGroup() as tasks:
        load = Batches(client, tasks)
        load.resume()
        for _ in range(rounds):
            for number, worker in present.items():
                present[number] = await _restarted(rig, number, worker, load)
                restarted.append(worker.pid)
        for worker in present.values():
            await until_async(lambda: worker.ready, "it is ready")  # noqa: B023  # asked within its turn
        await load.pause()
    submitted = JOB * len(load.jobs)
    job_ids = {job_id.encode() for job in load.jobs for job_id in job.job_ids}

    signed = Counter(record.input_tail for record in read_log(rig.directory / "acme.simhsm.log"))
    assert (signed.total(), set(signed.values())) == (submitted, {1}), "the HSM signed something twice"

    redis = rig.connect()
    assert await redis.zcard(keyspace.queue("acme")) == 0
    assert not [key async for key in redis.scan_iter("arq:in-progress:*")]
    await redis.aclose()

    last = {worker.pid: worker for worker in present.values()}
    await until_async(
        lambda: all(worker.metric("sigmill_jobs_in_flight") == 0 for worker in last.values()),
        "what the client has is counted",
    )
    by_process = {pid: worker.metric("sigmill_signatures_total") for pid, worker in last.items()}
    for worker in last.values():
        assert worker.metric("sigmill_commits_fenced_total") == 0
        assert worker.metric("sigmill_jobs_total", outcome="job.poisoned") == 0
        assert worker.child.stop(60) == 0  # its last records are written
    log = records(rig)
    outcomes = {(r.job_id, r.lease): r for r in log if isinstance(r, OutcomeRecord)}
    released = [r for r in log if isinstance(r, ReleasedRecord)]
    assert {r.how for r in released} == {"committed"}
    assert Counter(r.job_id for r in released) == dict.fromkeys(job_ids, 1)
    assert sum(signatures(outcomes[r.job_id, r.lease]) for r in released) == submitted
    assert {attempts(outcome) for outcome in outcomes.values()} == {1}
    assert not any(isinstance(r, UnknownRecord) for r in log)
    returned = [r for r in log if isinstance(r, ReturnedRecord)]
    assert {_pid(r.lease) for r in returned} == set(restarted), "a drain had nothing to return"
    assert {_pid(r.lease) for r in released} >= set(restarted), "a drain had nothing to finish"
    assert not any(r.maybe_signed for r in returned)
    assert sum(isinstance(r, IntentRecord) for r in log) == len(released) + len(returned_after_intent(log))
    for pid, counted in by_process.items():
        own = [r for r in released if _pid(r.lease) == pid]
        assert sum(signatures(outcomes[r.job_id, r.lease]) for r in own) == counted


def _pid(lease: bytes) -> int:
    """Process id of the worker that had this lease."""
    return int(lease.split(b":")[0].split(b".")[-2])


def returned_after_intent(log: list[Record]) -> set[tuple[bytes, bytes]]:
    """Claims that were about to be signed when they went back; others had not come so far."""
    intents = {(r.job_id, r.lease) for r in log if isinstance(r, IntentRecord)}
    return {(r.job_id, r.lease) for r in log if isinstance(r, ReturnedRecord)} & intents
