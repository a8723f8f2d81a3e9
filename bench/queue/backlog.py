"""A private Redis with a backlog, and what a claim and a commit cost it."""

from __future__ import annotations

import contextlib
import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import msgspec

from bench.queue.redis_probe import RedisProbe
from queueing.broker.claims import ClaimRequest, ClaimResult, Claims, Commit, Retention
from queueing.errors import QueueUnavailable
from queueing.protocol import keyspace
from queueing.protocol.jobs import JobHints, encode_job
from queueing.redis import scripts
from workers.dev.redis_server import RedisServer

if TYPE_CHECKING:
    from arq.connections import ArqRedis

    from queueing.broker.claims import ClaimedJob

JOBS_PER_CLAIM: Final = 64
JOBS_PER_STEP: Final = 640  # ten claims, less than the smallest backlog
ENVELOPE_BYTES: Final = 330  # a sealed envelope of one digest
RESULT_BYTES: Final = 260  # the result of one P-256 digest
LEASE_MS: Final = 600_000
TTL_MS: Final = "86400000"
PER_SCRIPT: Final = 20_000

FILL: Final = """
-- KEYS[1] queue; ARGV: prefix of the job ids, first number, how many, payload, time to live (ms). All are due.
for i = ARGV[2], ARGV[2] + ARGV[3] - 1 do
  local id = ARGV[1] .. string.format('%09d', i)
  redis.call('SET', 'arq:job:' .. id, ARGV[4], 'PX', ARGV[5])
  redis.call('ZADD', KEYS[1], i, id)
end
"""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """Redis CPU microseconds per job."""

    claim_us: float
    commit_us: float


def fill(redis: RedisProbe, tenant: str, jobs: int, payload: bytes, *, first: int = 0) -> None:
    """Queue ``jobs`` jobs of one tenant, all with this payload; their ids are those of a stock producer."""

    async def run(connection: ArqRedis) -> None:
        for start in range(first, first + jobs, PER_SCRIPT):
            count = min(PER_SCRIPT, first + jobs - start)
            queue, prefix = keyspace.queue(tenant), f"{{{tenant}}}-"
            # redis-py's stub asks for str; its connection encodes bytes as they are
            await connection.eval(FILL, 1, queue, prefix, str(start), str(count), payload, TTL_MS)  # type: ignore[arg-type,misc]

    redis.do(run)


class Backlog:
    """``jobs`` queued in all, shared evenly among ``tenants``. A context manager; it stays that full."""

    def __init__(self, directory: Path, *, tenants: int, jobs: int) -> None:
        self._directory = directory
        self._names = [f"t{number:04}" for number in range(tenants)]
        self._each = jobs // tenants
        self._payload = encode_job(b"e" * ENVELOPE_BYTES, JobHints(n=1, alg="ECDSA_SHA_256"), 0)
        self._next = itertools.cycle(self._names)
        self._filled = self._each
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self._directory.mkdir()
        with contextlib.ExitStack() as stack:
            server = RedisServer(self._directory / "redis", self._directory)
            stack.callback(server.stop)
            self._redis = RedisProbe(server)
            stack.callback(self._redis.close)
            self._redis.do(lambda redis: redis.config_set("maxmemory", "0"))
            self._redis.do(scripts.load)
            for name in self._names:
                fill(self._redis, name, self._each, self._payload)
            self._open = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def step(self) -> Step:
        """Claim ten times 64 jobs, of as many tenants as there are, up to ten; commit them; fill up again."""
        tenants = [next(self._next) for _ in range(JOBS_PER_STEP // JOBS_PER_CLAIM)]
        before = self._redis.cpu_s()
        claimed = self._redis.do(lambda redis: _claim(redis, tenants))
        between = self._redis.cpu_s()
        self._redis.do(lambda redis: _commit(redis, claimed))
        after = self._redis.cpu_s()
        for tenant, jobs in claimed.items():
            fill(self._redis, tenant, len(jobs), self._payload, first=self._filled)
        self._filled += JOBS_PER_STEP
        count = sum(len(jobs) for jobs in claimed.values())
        return Step(claim_us=1e6 * (between - before) / count, commit_us=1e6 * (after - between) / count)

    def waiting(self) -> int:
        """Jobs in the queues of all tenants."""

        async def count(redis: ArqRedis) -> int:
            return sum([await redis.zcard(keyspace.queue(name)) for name in self._names])

        return self._redis.do(count)


async def _claim(redis: ArqRedis, tenants: list[str]) -> dict[str, list[ClaimedJob]]:
    claims = Claims(redis, owner="bench", lease_ms=LEASE_MS)
    claimed: dict[str, list[ClaimedJob]] = {}
    for tenant in tenants:
        request = ClaimRequest(tenant=tenant, most_jobs=JOBS_PER_CLAIM, most_digests=JOBS_PER_CLAIM)
        (answer,) = await claims.claim([request])
        if not isinstance(answer, ClaimResult) or len(answer.jobs) != JOBS_PER_CLAIM:
            raise QueueUnavailable("a claim did not find what was queued")
        claimed.setdefault(tenant, []).extend(answer.jobs)
    return claimed


async def _commit(redis: ArqRedis, claimed: dict[str, list[ClaimedJob]]) -> None:
    claims = Claims(redis, owner="bench", lease_ms=LEASE_MS)
    for tenant, jobs in claimed.items():
        for start in range(0, len(jobs), JOBS_PER_CLAIM):
            commits = [
                Commit(job_id=job.job_id, lease=job.lease, result=b"r" * RESULT_BYTES, reply_id="")
                for job in jobs[start : start + JOBS_PER_CLAIM]
            ]
            await claims.commit({tenant: commits}, Retention(result_ms=1000))
