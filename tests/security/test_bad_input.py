"""The table 'Bad input': each row ends with its code, is counted, reaches no HSM, and harms no job beside it.

Jobs are made by hand and written under arq's keys, as whoever reaches Redis could. Whether the HSM was called
is told by the simulated HSM's own log, not by us.
"""

from __future__ import annotations

import asyncio
import os
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
from arq.connections import ArqRedis

from queueing.errors import QueueUnavailable, SigningError
from queueing.protocol import keyspace
from queueing.protocol.jobs import JobOutcome, job_id_of
from queueing.unix_time import unix_ms
from tests.support.farm.farm import digests
from tests.support.farm.forging import Forger, enqueue, fresh_id, outcome_of, payload
from tests.support.redis.planting import plant_list
from tests.support.rig.shared_rig import SharedRig
from tests.support.waiting import PATIENCE_S, until_async
from workers.dev.signature_checks import sha256_check

HOUR_MS = 3_600_000


async def enqueue_good(shared_rig: SharedRig, redis: ArqRedis, tenant: str = "acme") -> tuple[bytes, bytes]:
    """A good job of one digest; its id and the digest."""
    digest = os.urandom(32)
    sealed = Forger(key=shared_rig.rig.keys[tenant], tenant=tenant).seal(digests=(digest,))
    return await enqueue(redis, tenant, payload(sealed)), digest


async def check_good(
    shared_rig: SharedRig, redis: ArqRedis, job_id: bytes, digest: bytes, tenant: str = "acme"
) -> None:
    """The good job is signed, by the tenant's own key."""
    outcome = await outcome_of(redis, job_id)
    assert isinstance(outcome, JobOutcome), outcome
    (signature,) = outcome.signatures
    assert signature is not None
    public_key = shared_rig.rig.tokens[tenant].keys[f"{tenant}.release.v1"]
    sha256_check(public_key.spki)(signature, digest)


def failures(shared_rig: SharedRig, code: str) -> float:
    return shared_rig.worker.metric("sigmill_failures_total", tenant="acme", reason=code)


def code_of(outcome: JobOutcome | SigningError) -> str:
    """The one code with which a bad job ended, as a whole or digest by digest."""
    if isinstance(outcome, SigningError):
        return outcome.reason
    assert not any(outcome.signatures), "something was signed"
    (code,) = {note.code for note in outcome.errors.values()}
    return code


@dataclass(frozen=True, slots=True)
class Row:
    """A bad input by name: the job's bytes, made from the rig, and the code it must end with."""

    name: str
    code: str
    make: Callable[[SharedRig, Forger], bytes]


def sealed_row(name: str, code: str, **changes: Any) -> Row:
    """An envelope with these fields, properly sealed by acme's client."""
    return Row(name, code, lambda _, acme: payload(acme.seal(**changes)))


def dated_row(name: str, code: str, issued_ms: int, expires_ms: int) -> Row:
    """An envelope with dates relative to now."""
    return Row(
        name,
        code,
        lambda _, acme: payload(
            acme.seal(issued_at_ms=unix_ms() + issued_ms, expires_at_ms=unix_ms() + expires_ms)
        ),
    )


def sealed_by(forger: Callable[[SharedRig], Forger], **changes: Any) -> Callable[[SharedRig, Forger], bytes]:
    return lambda shared_rig, _: payload(forger(shared_rig).seal(**changes))


def body_with(position: int, value: object) -> Callable[[SharedRig, Forger], bytes]:
    """A sealed body whose field at ``position`` is of another kind than it should be."""

    def make(_: SharedRig, acme: Forger) -> bytes:
        body = msgspec.to_builtins(acme.envelope(), builtin_types=(bytes,))
        return payload(acme.seal_raw([*body[:position], value, *body[position + 1 :]]))

    return make


ROWS = [
    *(
        sealed_row(f"a digest of {n} bytes", "digest.length", digests=(bytes(n),))
        for n in (0, 1, 20, 31, 33, 128)
    ),
    sealed_row("the hex of a digest as bytes", "digest.length", digests=(bytes(32).hex().encode(),)),
    sealed_row("the hex of a digest as text", "envelope.malformed", digests=(bytes(32).hex(),)),
    sealed_row("a digest of 129 bytes", "envelope.malformed", digests=(bytes(129),)),
    sealed_row("an unknown algorithm", "algorithm.unknown", algorithm="ECDSA_SHA_1"),
    sealed_row("an algorithm of another key kind", "algorithm.mismatch", algorithm="ED25519"),
    sealed_row("an algorithm of another curve", "algorithm.mismatch", algorithm="ECDSA_SHA_384"),
    sealed_row("an unknown key", "key.unknown", key="nosuch"),
    sealed_row("an unknown version", "key.unknown", key_version=7),
    sealed_row("a key of another tenant", "key.unknown", key="p256"),
    sealed_row("a key that is next", "key.disabled", key="next"),
    sealed_row("a key for verifying only", "key.disabled", key="verify-only", key_version=1),
    sealed_row("a retired key", "key.disabled", key="retired", key_version=1),
    sealed_row("a revoked key", "key.disabled", key="revoked", key_version=1),
    sealed_row("a key whose time is over", "key.expired", key="lapsed"),
    sealed_row(
        "a key that the token has twice", "key.disabled", key="twin", algorithm="RSASSA_PKCS1_V1_5_SHA_256"
    ),
    sealed_row("another tenant's envelope", "envelope.audience", tenant="globex"),
    sealed_row("an unknown client", "client.unknown", client="nobody"),
    Row(
        "a client key that is not the client's",
        "envelope.signature",
        sealed_by(lambda shared_rig: Forger(key=shared_rig.rig.keys["globex"])),
    ),
    Row(
        "a revoked client",
        "client.revoked",
        sealed_by(lambda c: Forger(key=c.revoked), client="revoked"),
    ),
    Row(
        "an expired client",
        "client.expired",
        sealed_by(lambda c: Forger(key=c.expired), client="expired"),
    ),
    Row(
        "an unknown key asked for by a stranger",
        "envelope.signature",
        sealed_by(lambda shared_rig: Forger(key=shared_rig.rig.keys["globex"]), key="nosuch"),
    ),
    Row(
        "a retired key asked for by a stranger",
        "envelope.signature",
        sealed_by(lambda shared_rig: Forger(key=shared_rig.rig.keys["globex"]), key="retired", key_version=1),
    ),
    dated_row("an envelope that expired", "job.expired", -HOUR_MS, -90_000),
    dated_row("an envelope issued in the future", "envelope.expired", 90_000, HOUR_MS),
    dated_row("an envelope valid for 25 hours", "envelope.expired", 0, 25 * HOUR_MS),
    dated_row("an envelope that expires before it is issued", "envelope.expired", 0, -1),
    sealed_row("another audience", "envelope.audience", audience="prod/us"),
    sealed_row("an empty envelope", "envelope.malformed", digests=()),
    sealed_row("1,025 digests", "envelope.malformed", digests=tuple(digests(1025))),
    sealed_row("an idempotency key of 15 bytes", "envelope.malformed", idempotency_key=bytes(15)),
    sealed_row("a version of the format that is not known", "envelope.malformed", version=2),
    Row("a time that is a text", "envelope.malformed", body_with(7, "now")),
    Row("digests that are no list", "envelope.malformed", body_with(11, bytes(32))),
    Row("a body with one more field", "envelope.malformed", body_with(12, 1)),
    Row("an unknown function", "function.unknown", lambda _, a: payload(a.seal(), function="exec")),
    Row("no envelope", "envelope.malformed", lambda *_: payload(b"")),
    Row("an argument that is no bytes", "envelope.malformed", lambda *_: payload({"digest": "0"})),
    Row("no arq job", "envelope.malformed", lambda *_: b"\xc1\x00"),
    Row("an empty job", "envelope.malformed", lambda *_: b""),
    Row("lists in lists without end", "envelope.malformed", lambda *_: b"\x91" * 100_000),
    Row("a hint of another count", "envelope.malformed", lambda _, a: payload(a.seal(), hints={"n": 7})),
    Row(
        "a hint of another algorithm",
        "envelope.malformed",
        lambda _, a: payload(a.seal(), hints={"alg": "ED25519"}),
    ),
    Row(
        "a reply stream that is none",
        "envelope.malformed",
        lambda _, a: payload(a.seal(), hints={"re": "../../queue"}),
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name.replace(" ", "-"))
async def test_a_bad_job_ends_with_its_code_and_alone(
    shared_rig: SharedRig, redis: ArqRedis, acme: Forger, row: Row
) -> None:
    """Its code, one more in the failures of that reason, no C_Sign but the good job's; the worker goes on."""
    before, signed = failures(shared_rig, row.code), len(shared_rig.signed("acme"))
    bad = await enqueue(redis, "acme", row.make(shared_rig, acme))
    good = await enqueue_good(shared_rig, redis)
    assert code_of(await outcome_of(redis, bad)) == row.code
    await check_good(shared_rig, redis, *good)
    await until_async(lambda: failures(shared_rig, row.code) > before, "it is counted")
    assert len(shared_rig.signed("acme")) == signed + 1
    assert shared_rig.worker.ready


async def test_bad_digests_among_good_ones_fail_alone(
    shared_rig: SharedRig, redis: ArqRedis, acme: Forger
) -> None:
    """In one envelope each digest has its own outcome, in its place."""
    given = [*digests(5, salt="among"), bytes(31), *digests(4, salt="more"), b""]
    job_id = await enqueue(redis, "acme", payload(acme.seal(digests=tuple(given))))
    outcome = await outcome_of(redis, job_id)
    assert isinstance(outcome, JobOutcome)
    assert set(outcome.errors) == {5, 10}
    assert [s is None for s in outcome.signatures] == [i in {5, 10} for i in range(11)]


async def test_envelopes_that_were_cut_or_changed_are_never_signed(
    shared_rig: SharedRig, redis: ArqRedis, acme: Forger
) -> None:
    """A sample of all places (the unit tests have every one): malformed, or not the client's signature."""
    sealed = acme.seal()
    places = range(0, len(sealed), len(sealed) // 24)
    cut = [sealed[:n] for n in places]
    flipped = [sealed[:n] + bytes([sealed[n] ^ 1 << n % 8]) + sealed[n + 1 :] for n in places]
    signed = len(shared_rig.signed("acme"))
    jobs = [await enqueue(redis, "acme", payload(raw)) for raw in [*cut, *flipped, sealed + b"\x00"]]
    good = await enqueue_good(shared_rig, redis)
    codes = {code_of(await outcome_of(redis, job_id)) for job_id in jobs}
    assert codes <= {"envelope.malformed", "envelope.signature", "envelope.audience", "client.unknown"}
    await check_good(shared_rig, redis, *good)
    assert len(shared_rig.signed("acme")) == signed + 1


class Exploding:
    """Touches a file where it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._marker,)


async def test_a_pickle_is_never_loaded(
    shared_rig: SharedRig, redis: ArqRedis, acme: Forger, tmp_path: Path
) -> None:
    """Neither as a tenant's job, nor as an argument, nor on arq's own queue, nor as a result."""
    bomb = pickle.dumps(Exploding(tmp_path / "exploded"))
    pickle.loads(bomb)  # noqa: S301 - it does explode
    (tmp_path / "exploded").unlink()
    arq_job = pickle.dumps(
        {"t": None, "f": "sign", "a": (Exploding(tmp_path / "exploded"),), "k": {}, "et": 1}
    )
    bad = [await enqueue(redis, "acme", raw) for raw in (bomb, arq_job, payload(bomb))]
    ours = fresh_id()
    await redis.set(keyspace.job(ours), arq_job)
    await redis.zadd("arq:queue", {ours: 1})
    good = await enqueue_good(shared_rig, redis)
    for job_id in bad:
        assert code_of(await outcome_of(redis, job_id)) == "envelope.malformed"
    await check_good(shared_rig, redis, *good)
    async with asyncio.timeout(PATIENCE_S):
        while await redis.exists(keyspace.job(ours)):  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.01)
    assert shared_rig.worker.ready
    done = job_id_of("acme", os.urandom(16))
    await redis.set(keyspace.result(done), bomb)
    async with shared_rig.rig.client() as client:
        with pytest.raises(SigningError):
            await client.wait(done, timeout_s=1.0)
    await redis.delete(keyspace.result(done))
    assert not (tmp_path / "exploded").exists()


async def test_a_signing_job_on_arqs_own_queue_is_refused(
    shared_rig: SharedRig, redis: ArqRedis, acme: Forger
) -> None:
    """It has no tenant there; the error says where signing jobs go."""
    job = await redis.enqueue_job("sign", acme.seal())
    assert job is not None
    with pytest.raises(SigningError) as caught:
        await job.result(timeout=PATIENCE_S, poll_delay=0.05)
    assert caught.value.reason == "function.unknown"
    assert shared_rig.worker.alive


@pytest.mark.parametrize("job_id", [b"\xff\xfe\x00job", b"", b"{acme}" + b"\xff" * 32, b"x" * 500])
async def test_a_job_id_may_be_any_bytes(
    shared_rig: SharedRig, redis: ArqRedis, acme: Forger, job_id: bytes
) -> None:
    """It is signed as any other, and its result stands under those bytes."""
    unique = job_id + os.urandom(4) if job_id else job_id
    await enqueue(redis, "acme", payload(acme.seal()), unique)
    good = await enqueue_good(shared_rig, redis)
    outcome = await outcome_of(redis, unique)
    assert isinstance(outcome, JobOutcome)
    await check_good(shared_rig, redis, *good)
    await redis.delete(b"arq:result:" + unique)


async def test_an_envelope_under_another_jobs_id_is_refused(
    shared_rig: SharedRig, redis: ArqRedis, acme: Forger
) -> None:
    """Else one envelope of a tenant would answer for another."""
    job_id = job_id_of("acme", os.urandom(16)).encode()
    await enqueue(redis, "acme", payload(acme.seal()), job_id)
    assert code_of(await outcome_of(redis, job_id)) == "envelope.malformed"


async def test_a_job_without_payload_ends_as_expired(shared_rig: SharedRig, redis: ArqRedis) -> None:
    """Its key ran out, or somebody deleted it: a waiting client sends it again."""
    job_id = fresh_id()
    await redis.zadd(keyspace.queue("acme"), {job_id: 1})
    assert code_of(await outcome_of(redis, job_id.encode())) == "job.expired"
    assert shared_rig.worker.ready


@pytest.mark.parametrize("key", [keyspace.fence("acme"), keyspace.claims("acme")], ids=["fence", "claims"])
async def test_a_wrong_type_under_a_counter_is_replaced(
    shared_rig: SharedRig, redis: ArqRedis, key: str
) -> None:
    """The fence and the claims can be made anew, so they are, and counted; the job is signed."""
    before = shared_rig.worker.metric("sigmill_redis_keys_replaced_total", tenant="acme")
    await plant_list(redis, key)
    await check_good(shared_rig, redis, *(await enqueue_good(shared_rig, redis)))
    assert await redis.type(key) in {b"string", b"hash", b"none"}
    await until_async(
        lambda: shared_rig.worker.metric("sigmill_redis_keys_replaced_total", tenant="acme") > before,
        "the worker has counted it",
    )


@pytest.mark.parametrize("prefix", [keyspace.IN_PROGRESS_PREFIX, keyspace.RESULT_PREFIX])
async def test_a_wrong_type_under_a_jobs_key_is_replaced(
    shared_rig: SharedRig, redis: ArqRedis, acme: Forger, prefix: str
) -> None:
    """A lease or a result of a foreign type does not keep the job from being signed."""
    job_id, digest = fresh_id(), os.urandom(32)
    await plant_list(redis, prefix + job_id)
    sealed = acme.seal(digests=(digest,))
    await redis.set(keyspace.job(job_id), payload(sealed))
    await redis.zadd(keyspace.queue("acme"), {job_id: unix_ms()})
    async with asyncio.timeout(PATIENCE_S):
        while await redis.type(keyspace.result(job_id)) != b"string":  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.01)
    await check_good(shared_rig, redis, job_id.encode(), digest)


async def test_a_wrong_type_under_the_job_ends_that_job(shared_rig: SharedRig, redis: ArqRedis) -> None:
    """There is no envelope to sign: it ends as one whose key is gone."""
    before = shared_rig.worker.metric("sigmill_redis_keys_replaced_total", tenant="acme")
    job_id = fresh_id()
    await plant_list(redis, keyspace.job(job_id))
    await redis.zadd(keyspace.queue("acme"), {job_id: unix_ms()})
    good = await enqueue_good(shared_rig, redis)
    assert code_of(await outcome_of(redis, job_id.encode())) == "job.expired"
    await until_async(
        lambda: shared_rig.worker.metric("sigmill_redis_keys_replaced_total", tenant="acme") > before,
        "the worker has counted it",
    )
    await check_good(shared_rig, redis, *good)


async def test_a_wrong_type_under_the_queue_stops_that_tenant_alone(
    shared_rig: SharedRig, redis: ArqRedis
) -> None:
    """Its clients get a retryable error, other tenants are served, and it is served again when the key is gone."""
    async with shared_rig.rig.client("acme") as client:
        await client.sign("release", os.urandom(32))
        await plant_list(redis, keyspace.queue("acme"))
        try:
            with pytest.raises(QueueUnavailable):
                await client.submit("release", digests(1), timeout_s=1.0)
            before = shared_rig.worker.metric("sigmill_redis_errors_total", operation="claim")
            await check_good(shared_rig, redis, *(await enqueue_good(shared_rig, redis, "globex")), "globex")
            await until_async(
                lambda: shared_rig.worker.metric("sigmill_redis_errors_total", operation="claim") > before,
                "it is counted",
            )
        finally:
            await redis.delete(keyspace.queue("acme"))
        assert shared_rig.worker.ready
        await client.sign("release", os.urandom(32), timeout_s=60)


async def test_a_wrong_type_under_the_reply_stream_costs_the_push_only(
    shared_rig: SharedRig, redis: ArqRedis, acme: Forger
) -> None:
    """The client finds its result under the result key."""
    async with shared_rig.rig.client("acme") as client:
        await plant_list(redis, keyspace.reply_prefix("acme") + client._open.builder._reply_id)
        signature = await client.sign("release", os.urandom(32), timeout_s=60)
    assert signature.verified


async def test_a_wrong_type_under_the_directory_is_replaced(shared_rig: SharedRig, redis: ArqRedis) -> None:
    """A new client waits until the worker has published it again; no restart of anything."""
    await plant_list(redis, keyspace.directory("acme"))
    good = await enqueue_good(shared_rig, redis)
    async with shared_rig.rig.client("acme") as client:
        signature = await client.sign("release", os.urandom(32), timeout_s=60)
    assert signature.verified
    await check_good(shared_rig, redis, *good)
