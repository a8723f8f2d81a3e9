"""The client against a responder that claims real jobs and commits real results."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from queueing import Algorithm, ClientKey, Job, Signature, SigningClient
from queueing.broker.job_values import JobState
from queueing.client.signatures import Outcome
from queueing.config.redis import RedisConfig
from queueing.errors import (
    AlgorithmUnknown,
    DigestLength,
    EnvelopeSignature,
    JobUnknown,
    KeyUnknown,
    QueueUnavailable,
    WaitTimeout,
)
from queueing.protocol.client_keys import ClientKeyKind
from tests.support.farm.farm import Farm, digests
from tests.support.farm.responder import KeyRing
from tests.support.keys import rsa_key
from tests.support.redis.process import RedisProcess

HANG_S = 60.0

BEHIND_SUBMIT_S = 3.0
"""Deadline behind the queue's answer to a submit, on a busy machine as well."""


async def signed_all(
    client: SigningClient, given: list[bytes], request_id: str | None = None
) -> list[Outcome]:
    return [outcome async for outcome in client.sign_many("release", given, request_id=request_id)]


async def test_a_digest_is_signed_with_the_keys_default_algorithm_and_verified(farm: Farm) -> None:
    """sign() returns a verified signature that names its key, version, fingerprint and job."""
    (digest,) = digests(1)
    async with farm.client() as client:
        signature = await client.sign("release", digest)
        await client.verify(signature, digest)
    assert signature.algorithm is Algorithm.ECDSA_SHA_256
    assert (signature.key, signature.key_version, signature.verified) == ("release", 1, True)
    assert len(signature.public_key_sha256) == 32
    assert signature.job_id.startswith("{acme}")
    assert len(signature.raw()) == 64


async def test_concurrent_calls_share_envelopes(farm: Farm) -> None:
    """A thousand sign() calls that start together become one envelope, each with its own answer."""
    given = digests(1000)
    async with farm.client() as client:
        await client.default_algorithm("release")
        signatures = await asyncio.gather(*(client.sign("release", d) for d in given))
        for signature, digest in zip(signatures[::100], given[::100], strict=True):
            await client.verify(signature, digest)
    assert len({s.job_id for s in signatures}) == 1


async def test_one_bad_digest_fails_that_digest_and_order_is_kept(farm: Farm) -> None:
    """997 good and 3 bad digests give 997 signatures and 3 typed errors, each in its place."""
    given = digests(1000)
    given[0], given[500], given[999] = b"", given[500].hex(), b"x" * 500  # type: ignore[call-overload]
    async with farm.client() as client:
        outcomes = await signed_all(client, given)
        for i, outcome in enumerate(outcomes):
            if i in {0, 500, 999}:
                assert isinstance(outcome, DigestLength)
            else:
                assert isinstance(outcome, Signature), i
        for i in (1, 499, 501, 998):
            good = outcomes[i]
            assert isinstance(good, Signature)
            await client.verify(good, given[i])


@pytest.mark.parametrize("digest", [b"", b"a", b"a" * 20, b"a" * 31, b"a" * 33])
async def test_wrong_lengths_are_refused_by_the_service(farm: Farm, digest: bytes) -> None:
    """Bytes of a wrong length reach the service in one job, which refuses them."""
    async with farm.client() as client:
        with pytest.raises(DigestLength):
            await client.sign("release", digest)
    assert sum(farm.responder.jobs.values()) == 1


async def test_digests_that_are_no_bytes_stay_here(farm: Farm) -> None:
    """Hex instead of bytes is refused by the client, without a job."""
    async with farm.client() as client:
        with pytest.raises(DigestLength, match="str"):
            await client.sign("release", digests(1)[0].hex())  # type: ignore[arg-type]
    assert not farm.responder.jobs


async def test_sign_many_takes_async_sources_and_raises_what_they_raise(farm: Farm) -> None:
    """An async source is read as it goes; its error comes after the outcomes of what came before."""

    async def source() -> AsyncIterator[bytes]:
        for digest in digests(64):
            yield digest
        raise OSError("the disk")

    async with farm.client() as client:
        outcomes = client.sign_many("release", source())
        before = [await anext(outcomes) for _ in range(64)]
        assert all(isinstance(outcome, Signature) for outcome in before)
        with pytest.raises(OSError, match="the disk"):
            await anext(outcomes)


async def test_the_input_is_read_no_further_than_what_is_under_way(farm: Farm) -> None:
    """An endless source is read up to a bound."""
    await farm.responder.pause()
    read = 0

    def endless() -> Iterator[bytes]:
        nonlocal read
        while True:
            read += 1
            yield os.urandom(32)

    async with farm.client() as client:
        outcomes = client.sign_many("release", endless(), Algorithm.ECDSA_SHA_256)
        first = asyncio.create_task(anext(outcomes))
        async with asyncio.timeout(HANG_S):
            await farm.queued()
        farm.responder.resume()
        assert isinstance(await first, Signature)
        await outcomes.aclose()
    assert read <= 140 * 64


async def test_a_run_that_is_repeated_gets_back_what_is_done(farm: Farm) -> None:
    """The same request id and digests: the same bytes, and nothing is signed twice."""
    given = digests(300)
    async with farm.client() as client:
        first = await signed_all(client, given[:200], request_id="build-7")
    async with farm.client() as client:
        again = await signed_all(client, given, request_id="build-7")
    signatures = [s.signature for s in again if isinstance(s, Signature)]
    assert len(signatures) == 300
    # 192 digests were whole envelopes of the first run; the cut one is another job
    assert signatures[:192] == [s.signature for s in first[:192] if isinstance(s, Signature)]
    assert all(farm.responder.signed[d] == 1 for d in given[:192])


async def test_a_bad_item_does_not_move_the_cuts(farm: Farm) -> None:
    """Envelopes are cut by position, so an item that fails in one run costs its own envelope only."""
    given: list[bytes] = digests(256)
    broken = [*given[:10], None, *given[11:]]
    async with farm.client() as client:
        await signed_all(client, broken, request_id="r")  # type: ignore[arg-type]
        await signed_all(client, given, request_id="r")
    assert all(farm.responder.signed[d] == 1 for d in given[64:])


async def test_a_timeout_loses_nothing(farm: Farm) -> None:
    """WaitTimeout carries the job id, and waiting for it later, by another client, brings the result."""
    await farm.responder.pause()
    async with farm.client() as client:
        with pytest.raises(WaitTimeout) as caught:
            await client.sign("release", digests(1)[0], timeout_s=BEHIND_SUBMIT_S)
    (job_id,) = caught.value.job_ids
    farm.responder.resume()
    async with farm.client() as client:
        (outcome,) = await client.wait(job_id, timeout_s=60)
        assert isinstance(outcome, Signature)
        assert not outcome.verified
        await client.verify(outcome, digests(1)[0])


async def test_sign_many_gives_each_late_digest_its_job_id(farm: Farm) -> None:
    """Past the deadline every digest still has one outcome."""
    await farm.responder.pause()
    async with farm.client() as client:
        outcomes = [o async for o in client.sign_many("release", digests(130), timeout_s=BEHIND_SUBMIT_S)]
    assert [type(o) for o in outcomes] == [WaitTimeout] * 130
    assert len({o.job_ids for o in outcomes if isinstance(o, WaitTimeout)}) == 3


async def test_a_job_is_waited_for_in_another_process(farm: Farm) -> None:
    """submit() gives a Job that survives JSON; wait() verifies, keeps the order and names what was refused."""
    given: list[bytes] = digests(100)
    given[3] = "hex"  # type: ignore[call-overload]
    async with farm.client() as client:
        job = await client.submit("release", given, request_id="later")
        assert len(job.job_ids) == 2
    async with farm.client() as client:
        outcomes = await client.wait(Job.from_json(job.to_json()), timeout_s=60)
        assert len(outcomes) == 100
        assert isinstance(outcomes[3], DigestLength)
        last = outcomes[99]
        assert isinstance(last, Signature)
        assert last.verified
        await client.verify(last, given[99])
        assert (await client.status(job.job_ids[0])).state is JobState.DONE
    assert max(farm.responder.signed.values()) == 1


async def test_wait_for_a_job_that_is_late_names_its_ids(farm: Farm) -> None:
    """wait() past its deadline raises WaitTimeout with what is not answered."""
    await farm.responder.pause()
    async with farm.client() as client:
        job = await client.submit("release", digests(65))
        assert (await client.status(job.job_ids[0])).state is JobState.QUEUED
        with pytest.raises(WaitTimeout) as caught:
            await client.wait(job, timeout_s=0.2)
    assert caught.value.job_ids == job.job_ids


async def test_an_unknown_job_id_is_said_to_be_unknown(farm: Farm) -> None:
    """A job id without job and result is an error at once, not a wait."""
    async with farm.client() as client:
        with pytest.raises(JobUnknown):
            await client.wait("{acme}" + "0" * 32, timeout_s=60)


async def test_an_expired_job_is_renewed_while_the_caller_waits(farm: Farm) -> None:
    """After job.expired the client seals a new envelope under the same idempotency key: the same job
    continues.
    """
    farm.responder.expire_next = 1
    async with farm.client(envelope_ttl_s=0.001) as client:
        waiting = asyncio.create_task(client.sign("release", digests(1)[0], timeout_s=60))
        async with asyncio.timeout(HANG_S):
            await farm.responder.answered.wait()
        client._open.builder._ttl_ms = 60_000
        signature = await waiting
    assert farm.responder.jobs[signature.job_id] >= 2


async def test_a_lost_push_is_found_by_a_lookup(farm: Farm) -> None:
    """A result that is not pushed (a lost stream) is found under its key."""
    farm.responder.push = False
    async with farm.client() as client:
        assert (await client.sign("release", digests(1)[0], timeout_s=60)).verified


async def test_a_job_that_redis_lost_is_sent_again(farm: Farm) -> None:
    """Neither job nor result (a failover lost them): the client submits the job again, and it is signed."""
    await farm.responder.pause()
    async with farm.client() as client:
        waiting = asyncio.create_task(client.sign("release", digests(1)[0], timeout_s=60))
        async with asyncio.timeout(HANG_S):
            await farm.queued()
        directory = await farm.redis.get("sigmill:{acme}:directory")
        await farm.redis.flushdb()
        await farm.redis.set("sigmill:{acme}:directory", directory)
        farm.responder.resume()
        assert isinstance(await waiting, Signature)


async def ended(*calls: asyncio.Task[Any]) -> list[BaseException | None]:
    """The errors of these calls; fails if one hangs."""
    async with asyncio.timeout(HANG_S):
        await asyncio.wait(calls)
    return [call.exception() for call in calls]  # CancelledError where one was cancelled


async def test_keys_rotate_under_a_running_client(farm: Farm) -> None:
    """A result of a version that the client has not heard of makes it fetch the directory again."""
    ring = farm.responder.keys["release"]
    async with farm.client() as client:
        assert (await client.sign("release", digests(1)[0])).key_version == 1
        client._open.directory._fetched_ms -= 2_000
        ring.versions[2] = ec.generate_private_key(ec.SECP256R1())
        ring.states[1] = "verify-only"
        await farm.responder.publish(epoch=2)
        assert (await client.sign("release", digests(2)[1])).key_version == 2
        assert (await client.sign("release", digests(1)[0], timeout_s=60)).verified


async def test_unknown_names_are_denied(farm: Farm) -> None:
    """Unknown keys and algorithms are typed, and no job is made of what the client knows to be wrong."""
    async with farm.client() as client:
        with pytest.raises(KeyUnknown):
            await client.sign("nosuchkey", digests(1)[0])
        with pytest.raises(KeyUnknown):
            await client.sign("release/x", digests(1)[0])
        with pytest.raises(AlgorithmUnknown):
            await client.sign("release", digests(1)[0], "MD5")
        assert not farm.responder.jobs
        with pytest.raises(KeyUnknown):  # with an algorithm, the service decides
            await client.sign("nosuchkey", digests(1)[0], Algorithm.ECDSA_SHA_256, timeout_s=60)


async def test_a_version_can_be_asked_for(farm: Farm) -> None:
    """KEY/VERSION signs with that version, and not with a newer one."""
    farm.responder.keys["release"].versions[2] = ec.generate_private_key(ec.SECP256R1())
    await farm.responder.publish(epoch=2)
    async with farm.client() as client:
        assert (await client.sign("release/1", digests(1)[0])).key_version == 1
        assert (await client.sign("release", digests(1)[0])).key_version == 2


async def test_a_p256_client_key_and_an_rsa_signing_key(farm: Farm) -> None:
    """A client key of the kind that TPMs have; RSA by PKCS#1 v1.5 and by PSS."""
    farm.responder.keys["rsa"] = KeyRing({1: rsa_key()})
    farm.responder.client_key = None
    await farm.responder.publish(epoch=2)
    async with SigningClient(farm.config, ClientKey.generate(ClientKeyKind.P256)) as client:
        assert (await client.sign("rsa", digests(1)[0])).algorithm is Algorithm.RSASSA_PKCS1_V1_5_SHA_256
        assert (await client.sign("rsa", digests(1)[0], "RSASSA_PSS_SHA_256")).verified


async def test_a_foreign_client_key_is_denied(farm: Farm) -> None:
    """A client whose public half the tenant does not have gets envelope.signature for each digest."""
    async with SigningClient(farm.config, ClientKey.generate()) as client:
        outcomes = await signed_all(client, digests(3))
    assert [type(o) for o in outcomes] == [EnvelopeSignature] * 3


async def test_redis_that_goes_and_comes_back_loses_no_call(
    own_redis: RedisProcess, farm: Farm, tmp_path: Path
) -> None:
    """Calls made while Redis is away wait, are sent when it is back, and are answered."""
    own = RedisConfig(unix_socket=str(own_redis.socket_path))
    async with farm.served_by(own), farm.client(redis=own) as client:
        await client.sign("release", digests(1)[0], timeout_s=60)
        await farm.responder.pause()
        own_redis.stop()
        waiting = asyncio.create_task(client.sign("release", digests(2)[1], timeout_s=60))
        with pytest.raises(QueueUnavailable):
            await client.submit("release", digests(3), timeout_s=0.5)
        own_redis.start()
        await farm.responder.publish()
        farm.responder.resume()
        assert isinstance(await waiting, Signature)


async def test_a_missing_directory_is_retryable(farm: Farm) -> None:
    """Without a published directory the call fails at its deadline, with an error that may be retried."""
    await farm.redis.flushdb()
    async with farm.client() as client:
        with pytest.raises(QueueUnavailable) as caught:
            await client.sign("release", digests(1)[0], timeout_s=0.3)
    assert caught.value.retryable


async def test_stream_entries_that_were_read_are_trimmed(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries that were read from the reply stream do not stay in Redis."""
    monkeypatch.setattr("queueing.client.delivery.reply_stream._TRIM_BYTES", 1)
    async with farm.client() as client:
        await signed_all(client, digests(640))
        (stream,) = await farm.redis.keys("*reply*")
        assert await farm.redis.xlen(stream) <= 1
