"""The contract of the Lua scripts: what is accepted, leased, published and given back, and what is refused."""

from __future__ import annotations

import pickle
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, cast

import msgspec
import pytest
from arq.connections import ArqRedis

from queueing.broker.claims import ClaimedJob, ClaimRequest, ClaimResult, Claims, Commit, CommitStatus
from queueing.broker.submissions import Receipt, SubmitStatus
from queueing.errors import QueueUnavailable
from queueing.protocol import keyspace
from queueing.protocol.client_keys import ClientKey
from queueing.protocol.limits import ClaimLimits
from queueing.unix_time import unix_ms
from tests.support.farm.forging import Forger, payload
from tests.support.farm.queued import (
    KEEP,
    LEASE_MS,
    QUEUE,
    TENANT,
    commit_of,
    publish,
    put,
    result_of,
    submission,
    take,
)


def forger(tenant: str = TENANT) -> Forger:
    """Maker of envelopes of this tenant; the scripts verify nothing."""
    return Forger(key=ClientKey.generate(), tenant=tenant)


async def plant(redis: ArqRedis, key: str) -> None:
    """A list, where something else belongs."""
    await cast("Awaitable[int]", redis.lpush(key, "x"))


class TestSubmit:
    async def test_a_job_is_accepted_once(self, redis: ArqRedis) -> None:
        """The first time accepted, then queued: one job, one place in the queue."""
        first, second = await put(redis, submission(1)), await put(redis, submission(1), submission(2))
        assert [r.accepted for r in first + second] == [
            SubmitStatus.ACCEPTED,
            SubmitStatus.QUEUED,
            SubmitStatus.ACCEPTED,
        ]
        assert await redis.zcard(QUEUE) == 2

    async def test_order_is_kept_within_a_batch(self, redis: ArqRedis, one: Claims) -> None:
        """Jobs are due in the order of the submit."""
        jobs = [submission(i) for i in range(200)]
        await put(redis, *jobs)
        assert [j.job_id.decode() for j in (await take(one, jobs=200)).jobs] == [j.job_id for j in jobs]

    async def test_a_later_envelope_replaces_the_waiting_one(self, redis: ArqRedis, one: Claims) -> None:
        """The same job submitted again carries new dates: the last envelope is what is signed."""
        await put(redis, submission(1))
        renewed = submission(1)
        await put(redis, renewed)
        (job,) = (await take(one)).jobs
        assert job.payload is not None
        assert renewed.sealed in job.payload

    async def test_the_envelope_of_another_client_does_not_replace_the_waiting_one(
        self, redis: ArqRedis, one: Claims
    ) -> None:
        """Its key may be revoked, and the job would end with that; the other client waits for the same job."""
        await put(redis, submission(1))
        other = submission(1)
        other = replace(other, envelope=msgspec.structs.replace(other.envelope, client="revoked"))
        assert [r.accepted for r in await put(redis, other)] == [SubmitStatus.QUEUED]
        (job,) = (await take(one)).jobs
        assert job.payload is not None
        assert other.sealed not in job.payload

    async def test_other_content_under_the_same_id_is_a_conflict(self, redis: ArqRedis, one: Claims) -> None:
        """Waiting or done, the first content stays and nothing is signed."""
        job, other = submission(1), submission(1, salt=b"x")
        await put(redis, job)
        assert [r.accepted for r in await put(redis, other)] == [SubmitStatus.CONFLICT]
        claimed = await take(one)
        assert claimed.jobs[0].payload is not None
        assert job.sealed in claimed.jobs[0].payload
        await publish(one, commit_of(claimed, job))
        assert [r.accepted for r in await put(redis, other)] == [SubmitStatus.CONFLICT]

    async def test_a_done_job_answers_with_its_result(self, redis: ArqRedis, one: Claims) -> None:
        """Within the retention a repeat gets the same bytes, and no new job."""
        job = submission(1)
        await put(redis, job)
        await publish(one, commit_of(await take(one), job))
        assert await put(redis, job) == [Receipt(SubmitStatus.DONE, result_of(job))]
        assert await redis.zcard(QUEUE) == 0

    async def test_a_job_that_expired_unsigned_may_be_submitted_again(
        self, redis: ArqRedis, one: Claims
    ) -> None:
        """again=1: the old result goes, and the same job continues; other content stays a conflict."""
        job = submission(1)
        await put(redis, job)
        await publish(one, commit_of(await take(one), job, again=1))
        assert (await put(redis, submission(1, salt=b"x")))[0].accepted is SubmitStatus.CONFLICT
        assert (await put(redis, job))[0].accepted is SubmitStatus.ACCEPTED
        assert not await redis.exists(keyspace.result(job.job_id))

    async def test_a_job_that_no_worker_could_read_may_be_submitted_again(
        self, redis: ArqRedis, one: Claims
    ) -> None:
        """Its payload was gone, so its result has no hash; nothing was signed all the same."""
        job = submission(1)
        await put(redis, job)
        await redis.delete(keyspace.job(job.job_id))
        (claimed,) = (await take(one)).jobs
        result = result_of(job, again=1, read=False)
        await publish(one, Commit(claimed.job_id, claimed.lease, result, job.reply_id))
        assert (await put(redis, job))[0].accepted is SubmitStatus.ACCEPTED
        assert not await redis.exists(keyspace.result(job.job_id))

    async def test_the_bell_rings_after_a_claim_that_found_nothing(
        self, redis: ArqRedis, one: Claims
    ) -> None:
        """A claim that found nothing arms it: one ring for the first job, none for those behind it."""
        await take(one)
        async with redis.pubsub() as bell:
            await bell.subscribe(keyspace.doorbell(TENANT))
            await put(redis, submission(1), submission(2))
            await put(redis, submission(3))
            await redis.publish(keyspace.doorbell(TENANT), "end")
            heard = [m["data"] async for m in _until_end(bell)]
        assert heard == [TENANT.encode()]

    @pytest.mark.parametrize("key", [keyspace.job, keyspace.result])
    async def test_a_foreign_type_under_our_key_is_removed(
        self, redis: ArqRedis, key: Callable[[str], str]
    ) -> None:
        """A list where a job or a result should be does not stop the job."""
        job = submission(1)
        await plant(redis, key(job.job_id))
        assert (await put(redis, job))[0].accepted is SubmitStatus.ACCEPTED

    async def test_a_foreign_type_under_the_queue_is_a_typed_error(self, redis: ArqRedis) -> None:
        """Nothing is accepted into what is no queue; the error is retryable."""
        await redis.set(QUEUE, "x")
        with pytest.raises(QueueUnavailable):
            await put(redis, submission(1))
        assert not await redis.exists(keyspace.job(submission(1).job_id))

    @pytest.mark.parametrize(
        "raw", [b"", b"\xc1", b"\x81\xa1k", b"\xdf\xff\xff\xff\xff", b"\x91" * 5000, b"\x80"]
    )
    async def test_damaged_bytes_are_no_hints(self, redis: ArqRedis, raw: bytes) -> None:
        """A value that cannot be read as a job or a result is taken for one without hints."""
        job = submission(1)
        await redis.set(keyspace.job(job.job_id), raw)
        assert (await put(redis, job))[0].accepted is SubmitStatus.QUEUED
        await redis.set(keyspace.result(job.job_id), raw)
        assert await put(redis, job) == [Receipt(SubmitStatus.DONE, raw)]


async def _until_end(bell: Any) -> Any:
    async for message in bell.listen():
        if message["type"] == "message":
            if message["data"] == b"end":
                return
            yield message


class TestClaim:
    async def test_a_leased_job_is_not_claimed_again(self, redis: ArqRedis, one: Claims, two: Claims) -> None:
        """One owner at a time; the queue keeps the job, due at the lease's end."""
        await put(redis, submission(1))
        claimed = await take(one)
        assert [j.attempt for j in claimed.jobs] == [1]
        assert not (await take(two)).jobs
        due_ms = await redis.zscore(QUEUE, submission(1).job_id)
        assert due_ms == pytest.approx(claimed.now_ms + LEASE_MS, abs=2)

    async def test_it_stops_at_the_digests_that_were_asked_for(self, redis: ArqRedis, one: Claims) -> None:
        """A claim takes whole jobs until their hints have the digests that were asked for."""
        await put(redis, *(submission(i, digests=100) for i in range(5)))
        claimed = await take(one, digests=150)
        assert (len(claimed.jobs), claimed.more) == (2, True)
        assert len((await take(one, jobs=1)).jobs) == 1
        rest = await take(one)
        assert (len(rest.jobs), rest.more) == (2, False)

    async def test_fences_only_grow(self, redis: ArqRedis, one: Claims) -> None:
        """Each fence is larger than the last, also after the counter was deleted, set back or replaced by
        another type.
        """
        fences = []
        for i, damage in enumerate(("", "DEL", "SET", "LPUSH", "HUGE")):
            if damage == "DEL":
                await redis.delete(keyspace.fence(TENANT))
            elif damage == "SET":
                await redis.set(keyspace.fence(TENANT), "5")
            elif damage == "LPUSH":
                await redis.delete(keyspace.fence(TENANT))
                await plant(redis, keyspace.fence(TENANT))
            elif damage == "HUGE":
                await redis.set(keyspace.fence(TENANT), "9" * 40)
            await put(redis, submission(i))
            (job,) = (await take(one)).jobs
            fences.append(int(job.lease.partition(b":")[2]))
        assert fences == sorted(set(fences))

    async def test_a_job_without_payload_is_given_as_such(self, redis: ArqRedis, one: Claims) -> None:
        """The job's key is gone or of another type: payload None, for the worker to finish."""
        await put(redis, submission(1), submission(2))
        await redis.delete(keyspace.job(submission(1).job_id))
        await redis.delete(keyspace.job(submission(2).job_id))
        await plant(redis, keyspace.job(submission(2).job_id))
        assert [j.payload for j in (await take(one)).jobs] == [None, None]

    async def test_ids_need_not_be_utf8(self, redis: ArqRedis, one: Claims) -> None:
        """A foreign id goes through claim, extend and commit as bytes."""
        job_id = b"\xff\xfe\x00:id"
        await redis.set(keyspace.JOB_PREFIX.encode() + job_id, payload(forger().seal()))
        await redis.zadd(QUEUE, {job_id: 1})
        (job,) = (await take(one)).jobs
        assert (job.job_id, job.due_ms) == (job_id, b"1")
        assert await one.extend({TENANT: [job]}) == []
        assert await publish(one, Commit(job.job_id, job.lease, b"r", "")) == [CommitStatus.COMMITTED]
        assert await redis.get(keyspace.RESULT_PREFIX.encode() + job_id) == b"r"

    @pytest.mark.parametrize(
        "job_id",
        [b"{globex}" + b"a" * 32, b"{acme}" + b"a" * 507, b"a" * 513],
        ids=["another's", "long", "long stock"],
    )
    async def test_a_job_of_another_tenant_is_removed_from_the_queue(
        self, redis: ArqRedis, one: Claims, job_id: bytes
    ) -> None:
        """A writer to one queue cannot have another tenant's jobs leased, answered or removed."""
        await redis.set(keyspace.JOB_PREFIX.encode() + job_id, b"another tenant's")
        await redis.zadd(QUEUE, {job_id: 1})
        await put(redis, submission(1))
        claimed = await take(one)
        assert [job.job_id.decode() for job in claimed.jobs] == [submission(1).job_id]
        assert claimed.replaced == 1
        assert await redis.zscore(QUEUE, job_id) is None
        assert not await redis.exists(keyspace.IN_PROGRESS_PREFIX.encode() + job_id)
        assert await redis.get(keyspace.JOB_PREFIX.encode() + job_id) == b"another tenant's"

    @pytest.mark.parametrize(
        "raw",
        [
            payload(forger("globex").seal()),
            payload(forger("acme2").seal()),
            payload("an ordinary job of arq's own queue", function="send_mail"),
            pickle.dumps({"t": None, "f": "send_mail", "a": (), "k": {}, "et": 1}),
            payload([forger().seal()]),
            b"",
        ],
        ids=["another's", "a like name", "ordinary", "pickle", "nested", "empty"],
    )
    async def test_a_stock_job_belongs_to_the_tenant_that_its_envelope_names(
        self, redis: ArqRedis, one: Claims, raw: bytes
    ) -> None:
        """Its id has no tag: in another tenant's queue it is taken off, and neither leased, answered nor
        deleted.
        """
        await redis.set(keyspace.job("deploy-17"), raw)
        await redis.zadd(QUEUE, {"deploy-17": 1})
        claimed = await take(one)
        assert (claimed.jobs, claimed.replaced) == ((), 1)
        assert await redis.zscore(QUEUE, "deploy-17") is None
        assert await redis.get(keyspace.job("deploy-17")) == raw
        assert not await redis.exists(keyspace.IN_PROGRESS_PREFIX + "deploy-17", keyspace.result("deploy-17"))

    async def test_a_stock_job_that_is_gone_is_not_answered(self, redis: ArqRedis, one: Claims) -> None:
        """A stock job without a payload, or with a foreign type under its key, is taken off the queue and not
        answered.
        """
        await plant(redis, keyspace.job("foreign"))
        await redis.zadd(QUEUE, {"gone": 1, "foreign": 2})
        claimed = await take(one)
        assert (claimed.jobs, claimed.replaced) == ((), 2)
        assert await redis.exists(keyspace.job("foreign"))

    async def test_a_stock_job_of_the_tenant_is_claimed(self, redis: ArqRedis, one: Claims) -> None:
        """A stock job is claimed by the tenant that its envelope names."""
        await redis.set(keyspace.job("deploy-17"), payload(forger().seal()))
        await redis.zadd(QUEUE, {"deploy-17": 1})
        assert [job.job_id for job in (await take(one)).jobs] == [b"deploy-17"]

    async def test_hints_behind_many_items_are_not_looked_for(self, redis: ArqRedis, one: Claims) -> None:
        """256 KiB of one-byte items cost no more than a few: the job is charged by its size."""
        for i, items in enumerate((1, 200_000)):
            raw = msgspec.msgpack.encode({"a": [0] * items, "k": {"n": 3, "alg": "ECDSA_SHA_256"}})
            await redis.set(keyspace.job(f"{{acme}}{i}"), raw)
            await redis.zadd(QUEUE, {f"{{acme}}{i}": i})
        rated = ClaimLimits(rate_per_s=1e6, burst=1e6, costs={"ECDSA_SHA_256": 1.0})
        (claimed,) = await one.claim(
            [ClaimRequest(tenant=TENANT, most_jobs=10, most_digests=10_000, limits=rated)]
        )
        assert isinstance(claimed, ClaimResult)
        assert [job.charged_digests for job in claimed.jobs] == [3, 1024]

    async def test_a_claim_takes_a_bounded_number_of_bytes(self, redis: ArqRedis, one: Claims) -> None:
        """The values of one tenant keep Redis, and the reply, busy for some milliseconds at a time."""
        for i in range(64):
            await redis.set(keyspace.job(f"{{acme}}{i}"), b"\xc1" * 256 * 1024)
            await redis.zadd(QUEUE, {f"{{acme}}{i}": i})
        claimed = await take(one, digests=100_000)
        assert (len(claimed.jobs), claimed.more) == (32, True)

    async def test_a_payload_beyond_any_job_is_given_as_nothing(self, redis: ArqRedis, one: Claims) -> None:
        """Empty bytes, which are refused as malformed."""
        await put(redis, submission(1))
        await redis.set(keyspace.job(submission(1).job_id), b"x" * 300_000)
        (job,) = (await take(one)).jobs
        assert job.payload == b""

    async def test_a_job_that_a_stock_worker_has_leased_is_not_claimed(
        self, redis: ArqRedis, one: Claims
    ) -> None:
        """arq's in-progress key is respected, and the job is due at its end."""
        job = submission(1)
        await put(redis, job)
        await redis.set(keyspace.IN_PROGRESS_PREFIX + job.job_id, b"1", px=60_000)
        assert not (await take(one)).jobs
        assert (await redis.zscore(QUEUE, job.job_id)) > unix_ms() + 50_000

    async def test_a_claim_that_finds_only_what_is_held_arms_the_bell(
        self, redis: ArqRedis, one: Claims
    ) -> None:
        """It returned no job, so the next submit is to ring."""
        await put(redis, submission(1))
        await redis.set(keyspace.IN_PROGRESS_PREFIX + submission(1).job_id, b"1", px=60_000)
        claimed = await take(one)
        assert (claimed.jobs, claimed.more) == ((), False)
        assert await redis.exists(keyspace.armed(TENANT))

    async def test_jobs_behind_leased_ones_are_still_claimed(self, redis: ArqRedis, one: Claims) -> None:
        """The claim saw only held ones, and says that there is more."""
        jobs = [submission(i) for i in range(4)]
        await put(redis, *jobs)
        for held in jobs[:3]:
            await redis.set(keyspace.IN_PROGRESS_PREFIX + held.job_id, b"1", px=60_000)
        claimed = await take(one, jobs=2)
        assert (claimed.jobs, claimed.more) == ((), True)
        assert [j.job_id.decode() for j in (await take(one, jobs=2)).jobs] == [jobs[3].job_id]

    async def test_attempts_count_up_when_leases_run_out(self, redis: ArqRedis) -> None:
        """A job whose owner vanished is claimed again, with the next attempt and a later fence."""
        hasty = Claims(redis, owner="hasty", lease_ms=1)
        await put(redis, submission(1))
        seen: list[ClaimedJob] = []
        while len(seen) < 3:
            seen += (await take(hasty)).jobs
        assert [j.attempt for j in seen] == [1, 2, 3]

    @pytest.mark.parametrize(
        "key", [keyspace.claims(TENANT), keyspace.IN_PROGRESS_PREFIX + submission(1).job_id]
    )
    async def test_foreign_types_under_its_own_keys_are_replaced(
        self, redis: ArqRedis, one: Claims, key: str
    ) -> None:
        """The hash of claims or the lease is written again, and the job is committed."""
        await plant(redis, key)
        await put(redis, submission(1))
        claimed = await take(one)
        assert await publish(one, commit_of(claimed, submission(1))) == [CommitStatus.COMMITTED]

    @pytest.mark.parametrize(
        "key, kind",
        [(keyspace.fence(TENANT), b"string"), (keyspace.claims(TENANT), b"none")],
        ids=["fence", "claims"],
    )
    async def test_a_foreign_type_is_counted_once_by_a_claim_that_finds_no_job(
        self, redis: ArqRedis, one: Claims, key: str, kind: bytes
    ) -> None:
        """The idle claim replaces it, so no later claim could count it."""
        await plant(redis, key)
        assert (await take(one)).replaced == 1
        assert await redis.type(key) == kind
        assert (await take(one)).replaced == 0

    @pytest.mark.parametrize(
        "planted, refused",
        [
            ("9" * 32, 2**53),
            ("-" + "9" * 31, -(2**53)),
            ("9" * 400, 0),
            ("1e300", 2**53),
            ("nan", 0),
            ("inf", 2**53),
            ("x", 0),
        ],
    )
    async def test_a_planted_counter_is_bounded(
        self, redis: ArqRedis, one: Claims, planted: str, refused: int
    ) -> None:
        """Whatever its digits: a larger number would reach the worker as any other."""
        await redis.hset(keyspace.backlog(TENANT), "refused", planted)  # type: ignore[misc]
        assert (await take(one)).refused == refused

    async def test_one_tenants_damage_costs_that_tenant_alone(self, redis: ArqRedis, one: Claims) -> None:
        """Of two tenants in one round trip, one has a string for a queue; the other is served."""
        await put(redis, submission(1))
        await redis.set(keyspace.queue("other"), "x")
        answers = await one.claim(
            [
                ClaimRequest(tenant="other", most_jobs=9, most_digests=9),
                ClaimRequest(tenant=TENANT, most_jobs=9, most_digests=9),
            ]
        )
        assert isinstance(answers[0], QueueUnavailable)
        assert isinstance(answers[1], ClaimResult)
        assert len(answers[1].jobs) == 1


class TestCommit:
    async def test_a_result_is_published_and_the_job_removed(self, redis: ArqRedis, one: Claims) -> None:
        """One step: result, no job, no lease, no place in the queue, one entry in the reply stream."""
        jobs = [submission(1), submission(2)]
        await put(redis, *jobs)
        claimed = await take(one)
        commits = [commit_of(claimed, job, index=i) for i, job in enumerate(jobs)]
        assert await publish(one, *commits) == [CommitStatus.COMMITTED] * 2
        assert await redis.zcard(QUEUE) == 0
        assert not await redis.exists(keyspace.job(jobs[0].job_id), keyspace.claims(TENANT))
        stream = keyspace.reply_prefix(TENANT) + jobs[0].reply_id
        ((_, entry),) = await redis.xrange(stream)
        assert entry == {job.job_id.encode(): result_of(job) for job in jobs}
        assert 0 < await redis.pttl(stream) <= KEEP.reply_ms
        assert 0 < await redis.pttl(keyspace.result(jobs[0].job_id)) <= KEEP.result_ms

    async def test_a_late_owner_is_fenced(self, redis: ArqRedis, two: Claims) -> None:
        """A worker that lost the lease to another changes nothing."""
        hasty = Claims(redis, owner="hasty", lease_ms=1)
        job = submission(1)
        await put(redis, job)
        late = await take(hasty)
        current = await take(two)
        while not current.jobs:
            current = await take(two)
        assert await publish(hasty, commit_of(late, job)) == [CommitStatus.FENCED]
        assert not await redis.exists(keyspace.result(job.job_id))
        assert await publish(two, commit_of(current, job)) == [CommitStatus.COMMITTED]
        assert await hasty.extend({TENANT: list(late.jobs)}) == list(late.jobs)

    async def test_a_lease_that_ran_out_unclaimed_still_commits(self, redis: ArqRedis, one: Claims) -> None:
        """No worker has claimed the job since: its fence is the last one."""
        job = submission(1)
        await put(redis, job)
        claimed = await take(one)
        await redis.delete(keyspace.IN_PROGRESS_PREFIX + job.job_id)
        assert await one.extend({TENANT: list(claimed.jobs)}) == []
        await redis.delete(keyspace.IN_PROGRESS_PREFIX + job.job_id)
        assert await publish(one, commit_of(claimed, job)) == [CommitStatus.COMMITTED]

    async def test_a_repeated_commit_is_known_as_ours(self, redis: ArqRedis, one: Claims) -> None:
        """The answer was lost on the way: the same bytes again are 'repeated', other bytes are fenced."""
        job = submission(1)
        await put(redis, job)
        claimed = await take(one)
        await publish(one, commit_of(claimed, job))
        assert await publish(one, commit_of(claimed, job)) == [CommitStatus.REPEATED]
        assert await publish(one, commit_of(claimed, job, again=1)) == [CommitStatus.FENCED]

    @pytest.mark.parametrize(
        "damage",
        [
            keyspace.reply_prefix(TENANT) + submission(1).reply_id,
            keyspace.result(submission(1).job_id),
            keyspace.RETRY_PREFIX + submission(1).job_id,
        ],
    )
    async def test_foreign_types_do_not_stop_a_commit(
        self, redis: ArqRedis, one: Claims, damage: str
    ) -> None:
        """A damaged stream costs the push only; other keys are written over."""
        job = submission(1)
        await put(redis, job)
        claimed = await take(one)
        await redis.delete(damage)
        await plant(redis, damage)
        assert await publish(one, commit_of(claimed, job)) == [CommitStatus.COMMITTED]
        assert await redis.get(keyspace.result(job.job_id)) == result_of(job)

    async def test_a_damaged_queue_does_not_stop_a_commit(self, redis: ArqRedis, one: Claims) -> None:
        """A string where the queue was: the result is published all the same."""
        job = submission(1)
        await put(redis, job)
        claimed = await take(one)
        await redis.set(QUEUE, "x")
        assert await publish(one, commit_of(claimed, job)) == [CommitStatus.COMMITTED]

    async def test_many_results_for_one_client(self, redis: ArqRedis, one: Claims) -> None:
        """More results than Lua's unpack() takes reach the client in several entries."""
        jobs = [submission(i) for i in range(5000)]
        for start in range(0, 5000, 1000):
            await put(redis, *jobs[start : start + 1000])
        claimed = await take(one, jobs=5000)
        commits = [commit_of(claimed, job, index=i) for i, job in enumerate(jobs)]
        assert await publish(one, *commits) == [CommitStatus.COMMITTED] * 5000
        entries = await redis.xrange(keyspace.reply_prefix(TENANT) + jobs[0].reply_id)
        assert len(entries) > 1
        assert sum(len(entry) for _, entry in entries) == 5000


class TestRelease:
    @pytest.mark.parametrize("delay_ms, rings", [(0, 1), (1000, 0)])
    async def test_the_bell_rings_for_a_job_that_is_due_again_at_once(
        self, redis: ArqRedis, one: Claims, two: Claims, delay_ms: int, rings: int
    ) -> None:
        """Once, where a claim found nothing; for a job that is due later it does not ring."""
        await put(redis, submission(1))
        held = (await take(one)).jobs
        assert not (await take(two)).jobs
        async with redis.pubsub() as bell:
            await bell.subscribe(keyspace.doorbell(TENANT))
            await one.nack({TENANT: list(held)}, counts=False, delay_ms=delay_ms)
            await one.nack({TENANT: list(held)}, counts=False, delay_ms=delay_ms)
            await redis.publish(keyspace.doorbell(TENANT), "end")
            heard = [m["data"] async for m in _until_end(bell)]
        assert heard == [TENANT.encode()] * rings

    async def test_a_job_is_given_back_to_its_place(self, redis: ArqRedis, one: Claims, two: Claims) -> None:
        """It is due as before, and claimed at once by another."""
        await put(redis, submission(1))
        (job,) = (await take(one)).jobs
        await one.nack({TENANT: [job]}, counts=False)
        (again,) = (await take(two)).jobs
        assert (again.due_ms, again.attempt) == (job.due_ms, 1)

    async def test_an_attempt_may_count(self, redis: ArqRedis, one: Claims) -> None:
        """With ``counts=True`` the next claim is the second attempt."""
        await put(redis, submission(1))
        (job,) = (await take(one)).jobs
        await one.nack({TENANT: [job]}, counts=True)
        assert (await take(one)).jobs[0].attempt == 2

    async def test_a_late_owner_releases_nothing(self, redis: ArqRedis, two: Claims) -> None:
        """Another worker has claimed the job, and keeps its lease."""
        hasty = Claims(redis, owner="hasty", lease_ms=1)
        await put(redis, submission(1))
        (late,) = (await take(hasty)).jobs
        current = await take(two)
        while not current.jobs:
            current = await take(two)
        await hasty.nack({TENANT: [late]}, counts=False)
        assert not (await take(two)).jobs


async def test_scripts_that_redis_lost_are_loaded_again(redis: ArqRedis, one: Claims) -> None:
    """A restart or SCRIPT FLUSH costs one more round trip."""
    await put(redis, submission(1))
    await redis.script_flush()
    assert len((await take(one)).jobs) == 1
