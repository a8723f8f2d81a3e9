"""Jobs in a real Redis without a worker: put, taken and published by the scripts alone."""

from __future__ import annotations

import os

from arq.connections import ArqRedis

from queueing.broker.claims import ClaimRequest, ClaimResult, Claims, Commit, CommitStatus, Retention
from queueing.broker.submissions import Receipt, Submission
from queueing.broker.submit import submit
from queueing.protocol import keyspace
from queueing.protocol.envelope import Envelope
from queueing.protocol.jobs import ArqResult, ResultHints, WireError, content_hash, encode_result, job_id_of
from queueing.unix_time import unix_ms

TENANT = "acme"
QUEUE = keyspace.queue(TENANT)
LEASE_MS = 15_000
KEEP = Retention(result_ms=60_000)


def submission(seed: int = 0, *, digests: int = 1, salt: bytes = b"") -> Submission:
    """Jobs of one seed have one id; ``salt`` changes the content."""
    idempotency_key = seed.to_bytes(16, "big")
    envelope = Envelope(
        audience="a",
        tenant=TENANT,
        client="ci",
        key="release",
        key_version=0,
        algorithm="ECDSA_SHA_256",
        issued_at_ms=unix_ms(),
        expires_at_ms=unix_ms() + 60_000,
        idempotency_key=idempotency_key,
        digests=tuple(bytes([i % 256]) * 32 + salt for i in range(digests)),
    )
    return Submission(
        job_id=job_id_of(TENANT, idempotency_key),
        envelope=envelope,
        sealed=b"sealed" + os.urandom(300),
        content=content_hash(envelope),
        reply_id="0" * 31 + "1",
    )


def result_of(job: Submission, *, again: int = 0, read: bool = True) -> bytes:
    """Of a job that expired. ``read``: its payload was there, so the result has its hash."""
    return encode_result(
        ArqResult(
            k=ResultHints(h=job.content if read else b"", again=again),
            et=1,
            s=False,
            r=WireError("job.expired"),
            st=1,
            ft=1,
            q=QUEUE,
            id=job.job_id,
        )
    )


async def put(redis: ArqRedis, *jobs: Submission) -> list[Receipt]:
    return await submit(redis, TENANT, jobs, now_ms=unix_ms())


async def take(claims: Claims, *, jobs: int = 100, digests: int = 10_000) -> ClaimResult:
    (claimed,) = await claims.claim([ClaimRequest(tenant=TENANT, most_jobs=jobs, most_digests=digests)])
    assert isinstance(claimed, ClaimResult), claimed
    return claimed


async def publish(claims: Claims, *commits: Commit) -> list[CommitStatus]:
    outcomes = (await claims.commit({TENANT: list(commits)}, KEEP))[TENANT]
    assert isinstance(outcomes, list), outcomes
    return outcomes


def commit_of(claimed: ClaimResult, job: Submission, *, index: int = 0, again: int = 0) -> Commit:
    leased = claimed.jobs[index]
    return Commit(leased.job_id, leased.lease, result_of(job, again=again), job.reply_id)
