"""The attacker can write anything into Redis. Whatever is there, nothing is signed that the tenant did not authorise,
nobody else is harmed beyond delay, and clients see through false results.

What reached an HSM is told by the simulated HSM's own log (``shared_rig.signed``).
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from typing import Any

import pytest
from arq.connections import ArqRedis
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from bench.hsm.simhsm import read_log
from queueing import Signature
from queueing.errors import SigningError
from queueing.protocol import keyspace
from queueing.protocol.algorithms import KeyKind
from queueing.protocol.jobs import ArqResult, JobOutcome, ResultHints, encode_result, job_id_of
from queueing.protocol.signing_costs import COST_OF
from queueing.unix_time import unix_ms
from tests.support.farm.farm import digests
from tests.support.farm.forging import Forger, enqueue, fresh_id, outcome_of, payload
from tests.support.redis.planting import plant_hash, plant_list
from tests.support.rig.rig import MakeRig
from tests.support.rig.shared_rig import SharedRig, behind_simhsm
from tests.support.waiting import PATIENCE_S, until_async
from workers.dev.signature_checks import sha256_check
from workers.limits.rate_limiter import SLACK

P256_COST = COST_OF[KeyKind.P256]

TENANT_KEYS = (
    keyspace.queue,
    keyspace.fence,
    keyspace.claims,
    keyspace.armed,
    keyspace.backlog,
    keyspace.mark,
    keyspace.caps,
    keyspace.limiter,
    keyspace.directory,
)


def code(outcome: JobOutcome | SigningError) -> str:
    assert isinstance(outcome, SigningError), "something was signed"
    return outcome.reason


async def sign_one(shared_rig: SharedRig, tenant: str = "acme", *, within_s: float = PATIENCE_S) -> Signature:
    """One digest through the whole way."""
    async with shared_rig.rig.client(tenant) as client:
        return await client.sign("release", os.urandom(32), algorithm="ECDSA_SHA_256", timeout_s=within_s)


async def test_a_replay_signs_what_was_authorised_and_only_until_it_expires(
    shared_rig: SharedRig, redis: ArqRedis, acme: Forger
) -> None:
    """The same digest by the same key, as often as somebody likes, and never after the envelope's end."""
    digest = os.urandom(32)
    sealed = acme.seal(digests=(digest,))
    for _ in range(3):
        assert isinstance(await outcome_of(redis, await enqueue(redis, "acme", payload(sealed))), JobOutcome)
    old = acme.seal(issued_at_ms=unix_ms() - 600_000, expires_at_ms=unix_ms() - 120_000)
    assert code(await outcome_of(redis, await enqueue(redis, "acme", payload(old)))) == "job.expired"


async def test_an_envelope_is_good_on_its_own_tenants_queue_only(
    shared_rig: SharedRig, redis: ArqRedis, acme: Forger
) -> None:
    """Put on another tenant's queue it is refused there, and that tenant's HSM is not asked."""
    signed = len(shared_rig.signed("globex"))
    for row in (acme.seal(), Forger(key=shared_rig.rig.keys["acme"], tenant="globex").seal()):
        job = await enqueue(redis, "globex", payload(row))
        assert code(await outcome_of(redis, job)) in {"envelope.audience", "envelope.signature"}
    assert len(shared_rig.signed("globex")) == signed


async def test_payloads_swapped_between_jobs_answer_for_neither(
    shared_rig: SharedRig, redis: ArqRedis, acme: Forger
) -> None:
    """A job's id is derived from its envelope: another envelope under it is refused."""
    one, two = acme.envelope(), acme.envelope()
    ids = [job_id_of("acme", envelope.idempotency_key) for envelope in (one, two)]
    sealed = [acme.seal(idempotency_key=e.idempotency_key, digests=e.digests) for e in (one, two)]
    signed = len(shared_rig.signed("acme"))
    for job_id, other in zip(ids, reversed(sealed), strict=True):
        await enqueue(redis, "acme", payload(other), job_id)
    for job_id in ids:
        assert code(await outcome_of(redis, job_id.encode())) == "envelope.malformed"
    assert len(shared_rig.signed("acme")) == signed


async def planted(shared_rig: SharedRig, redis: ArqRedis, result: Callable[[bytes, str], bytes]) -> str:
    """Put a false result in the place of a true one: the code with which a repeat of the run ends."""
    digest, run = os.urandom(32), fresh_id()
    async with shared_rig.rig.client() as client:
        job = await client.submit("release", [digest], request_id=run)
        assert isinstance((await client.wait(job, timeout_s=60))[0], Signature)
    (job_id,) = job.job_ids
    await redis.set(keyspace.result(job_id), result(digest, job_id), px=60_000)
    async with shared_rig.rig.client() as client:
        try:
            again = await client.submit("release", [digest], request_id=run)
            (outcome,) = await client.wait(again, timeout_s=60)
        except SigningError as error:
            return error.reason
    return outcome.reason if isinstance(outcome, SigningError) else "believed"


def a_result(digest: bytes, job_id: str, signature: bytes, sha256: bytes, **changes: Any) -> bytes:
    outcome = JobOutcome(
        **{
            "key": "release",
            "key_version": 1,
            "public_key_sha256": sha256,
            "algorithm": "ECDSA_SHA_256",
            "signatures": (signature,),
            **changes,
        }
    )
    hints = ResultHints()
    return encode_result(
        ArqResult(k=hints, et=1, s=True, r=outcome, st=1, ft=1, q=keyspace.queue("acme"), id=job_id)
    )


async def test_planted_results_are_seen_through(shared_rig: SharedRig, redis: ArqRedis) -> None:
    """A signature by another key, of another digest, by another tenant's key, and rubbish: `result.invalid`."""
    mallory = ec.generate_private_key(ec.SECP256R1())
    prehashed = ec.ECDSA(utils.Prehashed(hashes.SHA256()))
    own = shared_rig.rig.tokens["acme"].keys["acme.release.v1"].sha256
    other = shared_rig.rig.tokens["globex"].keys["globex.release.v1"].sha256
    async with shared_rig.rig.client("globex") as client:
        theirs = (await client.sign("release", bytes(32), timeout_s=60)).signature
    forgeries: list[Callable[[bytes, str], bytes]] = [
        lambda digest, job: a_result(digest, job, mallory.sign(digest, prehashed), own),
        lambda digest, job: a_result(digest, job, mallory.sign(digest, prehashed), bytes(32)),
        lambda digest, job: a_result(digest, job, theirs, other),
        lambda digest, job: a_result(digest, job, b"", own),
        lambda digest, job: a_result(digest, job, theirs, own, key="another"),
        lambda digest, job: a_result(digest, job, theirs, own, signatures=()),
        lambda *_: b"\xc1rubbish",
        lambda *_: b"",
    ]
    for forge in forgeries:
        assert await planted(shared_rig, redis, forge) == "result.invalid"


async def test_a_planted_directory_is_not_believed(make_rig: MakeRig) -> None:
    """Neither one that is signed by somebody else nor another tenant's; the service puts its own back in time."""
    rig = make_rig(tenants={"acme": KeyKind.P256, "globex": KeyKind.P256})
    worker = rig.start_worker()
    await until_async(
        lambda: worker.metric("sigmill_directories_published_total", outcome="published") >= 2, "published"
    )
    redis = rig.connect()
    theirs = await redis.get(keyspace.directory("globex"))
    await redis.set(keyspace.directory("acme"), theirs)
    async with rig.client() as client:
        with pytest.raises(SigningError) as caught:
            await client.sign("release", os.urandom(32), timeout_s=3)
    assert caught.value.reason in {"result.invalid", "queue.unavailable"}
    await redis.delete(keyspace.directory("acme"))
    async with rig.client() as client:
        assert isinstance(await client.sign("release", os.urandom(32), timeout_s=60), Signature)
    await redis.aclose()


@pytest.mark.parametrize("key", TENANT_KEYS, ids=lambda key: key.__name__)
@pytest.mark.parametrize("kind", ["list", "text", "hash"])
async def test_a_wrong_type_or_value_at_any_key_harms_no_neighbour(
    shared_rig: SharedRig, redis: ArqRedis, key: Callable[[str], str], kind: str
) -> None:
    """globex signs on meanwhile; acme signs again once the key is gone, at the latest."""
    name = key("acme")
    if kind == "list":
        await plant_list(redis, name)
    elif kind == "text":
        await redis.set(name, "9" * 400)
    else:
        fields = {"digests": "nan", "bytes": "-1e999", "day": "x", "tat": "1e308", "x": "y"}
        await plant_hash(redis, name, fields)
    assert isinstance(await sign_one(shared_rig, "globex", within_s=30), Signature)
    assert shared_rig.worker.alive
    await redis.delete(name)
    assert isinstance(await sign_one(shared_rig), Signature)


@pytest.mark.parametrize("fence", ["-1", "0", "1e308", "9007199254740991", "nonsense", ""])
async def test_a_changed_fence_gives_no_fence_twice(
    shared_rig: SharedRig, redis: ArqRedis, fence: str
) -> None:
    """Set back, set to the end of numbers, or no number: jobs are claimed and committed on."""
    await redis.set(keyspace.fence("acme"), fence)
    assert isinstance(await sign_one(shared_rig), Signature)
    await redis.delete(keyspace.fence("acme"))


async def test_leases_taken_away_cost_time_and_nothing_else(
    shared_rig: SharedRig, redis: ArqRedis, acme: Forger
) -> None:
    """Somebody deletes and rewrites every lease while jobs run: each job ends with its own signature."""
    given = [os.urandom(32) for _ in range(40)]
    jobs = [await enqueue(redis, "acme", payload(acme.seal(digests=(digest,)))) for digest in given]
    for i, job in enumerate(jobs):
        lease = b"arq:in-progress:" + job
        await (redis.delete(lease) if i % 2 else redis.set(lease, "mallory:1", px=500))
    check = sha256_check(shared_rig.rig.tokens["acme"].keys["acme.release.v1"].spki)
    for job, digest in zip(jobs, given, strict=True):
        outcome = await outcome_of(redis, job)
        assert isinstance(outcome, JobOutcome)
        (signature,) = outcome.signatures
        assert signature is not None
        check(signature, digest)
    await until_async(
        lambda: shared_rig.worker.metric("sigmill_jobs_in_flight") == 0, "no second claim of them is at work"
    )


async def test_doorbells_of_unknown_tenants_are_ignored(shared_rig: SharedRig, redis: ArqRedis) -> None:
    """Ten thousand names cost the worker nothing that stays."""
    async with redis.pipeline(transaction=False) as pipe:
        for i in range(10_000):
            pipe.publish(keyspace.doorbell(f"nobody-{i}"), "x")
        await pipe.execute()
    assert isinstance(await sign_one(shared_rig), Signature)
    assert "nobody-1" not in shared_rig.worker.get("/metrics")[1]


async def test_a_flood_of_bogus_jobs_delays_no_neighbour_for_long(make_rig: MakeRig) -> None:
    """20,000 jobs of rubbish on acme's queue: globex is served among them, and each refusal is counted."""
    rig = make_rig(tenants={"acme": KeyKind.P256, "globex": KeyKind.P256})
    worker = rig.start_worker()
    redis = rig.connect()
    async with rig.client("globex") as neighbour:
        await neighbour.sign("release", os.urandom(32), timeout_s=60)
        raw, bogus = payload(b"\x92\xc4\x01x\xc4\x01x"), 20_000
        for start in range(0, bogus, 2000):
            async with redis.pipeline(transaction=False) as pipe:
                ids = [fresh_id() for _ in range(2000)]
                for job in ids:
                    pipe.set(keyspace.job(job), raw, px=120_000)
                pipe.zadd(keyspace.queue("acme"), dict.fromkeys(ids, start))
                await pipe.execute()
        await redis.publish(keyspace.doorbell("acme"), "acme")
        for _ in range(20):
            assert isinstance(await neighbour.sign("release", os.urandom(32), timeout_s=60), Signature)
        assert await redis.zcard(keyspace.queue("acme")) > 0, "the neighbour waited for the end of the flood"
        many = await neighbour.submit("release", digests(64))
        assert all(isinstance(o, Signature) for o in await neighbour.wait(many, timeout_s=60))
    await until_async(
        lambda: worker.metric("sigmill_failures_total", tenant="acme", reason="envelope.malformed") >= 1000,
        "refusals are counted",
        within_s=60,
    )
    assert worker.alive
    await redis.aclose()


_FLOOD = """
for i = tonumber(ARGV[1]), tonumber(ARGV[2]) do
  local id = string.format('{acme}%032x', i)
  redis.call('SET', 'arq:job:' .. id, ARGV[3])
  redis.call('ZADD', KEYS[1], i, id)
end
"""


@pytest.mark.slow
async def test_a_flood_of_a_million_bogus_jobs_costs_no_memory_and_no_neighbour(make_rig: MakeRig) -> None:
    """The worker claims what it can start soon, so a million waiting jobs stay where they are."""
    rig = make_rig(tenants={"acme": KeyKind.P256, "globex": KeyKind.P256})
    worker = rig.start_worker()
    redis = rig.connect()
    million, at_once = 1_000_000, 50_000
    async with rig.client("globex") as neighbour:
        await neighbour.sign("release", os.urandom(32), timeout_s=60)
        for start in range(0, million, at_once):
            words = (_FLOOD, 1, keyspace.queue("acme"), start, start + at_once - 1, payload(b"\xc1"))
            await redis.execute_command("EVAL", *words)  # type: ignore[no-untyped-call]
        assert await redis.zcard(keyspace.queue("acme")) > million // 2
        await redis.publish(keyspace.doorbell("acme"), "acme")
        for _ in range(200):
            assert isinstance(await neighbour.sign("release", os.urandom(32), timeout_s=60), Signature)
        assert await redis.zcard(keyspace.queue("acme")) > 0, "the neighbour waited for the end of the flood"
    await until_async(
        lambda: worker.metric("sigmill_failures_total", tenant="acme", reason="envelope.malformed") > 1000,
        "refusals are counted",
    )
    assert worker.rss_mib < 150
    await redis.aclose()


async def test_a_limiter_that_is_set_back_all_the_time_is_not_believed(make_rig: MakeRig) -> None:
    """Each worker counts for itself too: at most a fifth more than the limit is signed, whatever Redis says."""
    rate, burst = 200, 50
    limits = f"\n[limits]\nrate_per_s = {rate * P256_COST}\nburst = {burst * P256_COST}\n"
    rig = make_rig(more={"acme": limits})
    rig.wrap = behind_simhsm(rig.directory)
    worker = rig.start_worker()
    redis = rig.connect()
    forger = Forger(key=rig.keys["acme"])
    began = time.monotonic()
    for i in range(300):
        await enqueue(redis, "acme", payload(forger.seal(digests=tuple(digests(10, salt=str(i))))))
    log, signed = rig.directory / "acme.simhsm.log", 0
    more_than_the_burst = SLACK * burst + rate
    async with asyncio.timeout(PATIENCE_S):
        while (
            signed <= more_than_the_burst
            or worker.metric("sigmill_limiter_decisions_total", outcome="hard_cap") == 0
        ):
            for _ in range(100):
                await redis.delete(keyspace.limiter("acme"))
            signed = len(read_log(log))
    took_s = time.monotonic() - began
    await redis.aclose()
    assert signed <= SLACK * (burst + rate * took_s) + 10


async def test_a_hint_of_another_size_is_a_lie_and_refused(
    shared_rig: SharedRig, redis: ArqRedis, acme: Forger
) -> None:
    """A job whose unsigned digest count or algorithm is not its envelope's is not signed: it would be charged by them."""
    sealed = acme.seal(digests=tuple(digests(64, salt="lie")))
    signed = len(shared_rig.signed("acme"))
    for hints in ({"n": 1}, {"n": 2**31}, {"n": 64, "alg": "ED25519"}):
        job = await enqueue(redis, "acme", payload(sealed, hints=hints))
        assert code(await outcome_of(redis, job)) == "envelope.malformed"
    assert len(shared_rig.signed("acme")) == signed
