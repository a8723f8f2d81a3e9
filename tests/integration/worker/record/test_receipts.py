"""Receipts from a real worker and its sealer: each verifies offline by the pinned service key, and none
delays a signature.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import signal
from pathlib import Path

import pytest
from msgspec.structs import replace

from queueing import Job, ProofInvalid, ReceiptMissing, Signature, SigningClient
from queueing.broker import receipts as published
from queueing.client.signatures import Outcome
from queueing.protocol import keyspace
from queueing.transparency.receipts import MOST_RECEIPT_BYTES, verify_receipt
from queueing.transparency.trusted_keys import TrustedKeys
from tests.integration.worker.record.test_record import RECORD, sealer_of
from tests.support.keys import EcdsaNoteKey
from tests.support.rig.operator import sigmill
from tests.support.rig.rig import AUDIENCE, MakeRig, Rig
from tests.support.waiting import until_async
from workers.dev.tenants import SERVICE_KEY_LABEL
from workers.journal.records import ReleasedRecord, decode_record
from workers.journal.segments import read_segment, segments_of

LONG_S = 60.0
"""Longest wait for a receipt in a test whose receipts come: of a machine that is busy with others."""

NICE_S = 200.0
"""A sealer is nice to all others: where they want both cores, its turn comes late."""


def client_of(rig: Rig, *, receipt_timeout_s: float = LONG_S) -> SigningClient:
    config = replace(rig.client_config("acme"), receipt_timeout_s=receipt_timeout_s)
    return SigningClient(config, rig.keys["acme"])


def trusted(rig: Rig) -> TrustedKeys:
    spki = rig.tokens["service"].keys[SERVICE_KEY_LABEL].spki
    return TrustedKeys(service=[spki], audience=AUDIENCE)


def signature_of(outcome: Outcome) -> Signature:
    assert isinstance(outcome, Signature), outcome
    return outcome


def receipt_of(outcome: Outcome) -> bytes:
    signature = signature_of(outcome)
    assert signature.receipt is not None, signature.receipt_missing
    return signature.receipt


async def test_each_digest_gets_a_receipt_that_verifies_offline_and_for_nothing_else(
    make_rig: MakeRig,
) -> None:
    """Receipts of single calls, of many digests with a bad one, and of a submitted job verify for their
    digest alone.
    """
    rig = make_rig(service=RECORD)
    worker = rig.start_worker()
    digests = [os.urandom(32) for _ in range(70)]
    async with client_of(rig) as client:
        singles = await asyncio.gather(
            *(client.sign("release", digest, receipt=True, timeout_s=60) for digest in digests[:3])
        )
        many = [
            outcome
            async for outcome in client.sign_many(
                "release", [*digests[3:60], bytes(20)], receipts=True, timeout_s=60
            )
        ]
        job = await client.submit("release", digests[60:], receipts=True, timeout_s=60)
        later = await client.receipts(Job.from_json(job.to_json()), timeout_s=60)
        without = await client.sign("release", digests[0], timeout_s=60)
    assert (without.receipt, without.receipt_missing) == (None, None)
    assert not isinstance(many.pop(), Signature)
    outcomes: list[Outcome] = [*singles, *many, *later]
    keys, other = trusted(rig), EcdsaNoteKey("service")
    for digest, outcome in zip(digests, outcomes, strict=True):
        receipt, made = receipt_of(outcome), signature_of(outcome).signature
        assert len(receipt) <= MOST_RECEIPT_BYTES
        verified = verify_receipt(receipt, keys, digest=digest, signature=made, tenant="acme")
        assert verified.entry.public_key_sha256 == signature_of(outcome).public_key_sha256
    receipt, made = receipt_of(outcomes[0]), signature_of(outcomes[0]).signature
    for refused in (
        {"digest": digests[1]},
        {"digest": digests[0], "signature": signature_of(outcomes[1]).signature},
        {"digest": digests[0], "signature": made, "tenant": "other"},
        {"digest": digests[0], "trusted": TrustedKeys(service=[other.spki])},
        {"digest": digests[0], "trusted": TrustedKeys(service=keys.service, audience="other")},
    ):
        with pytest.raises(ProofInvalid):
            verify_receipt(receipt, **{"trusted": keys, **refused})  # type: ignore[arg-type]
    assert worker.metric("sigmill_record_failures_total", reason="receipt") == 0


async def test_a_job_that_was_submitted_on_the_command_line_gets_its_receipts_as_files(
    make_rig: MakeRig, tmp_path: Path
) -> None:
    """`wait` in another process writes the receipts, and writes them again when it is repeated."""
    rig = make_rig(service=RECORD)
    rig.start_worker()
    given = (rig.directory / "clients" / "acme" / "client.toml").read_text()
    config = rig.directory / "clients" / "acme" / "patient.toml"
    config.write_text(f"receipt_timeout_s = {LONG_S}\n{given}")
    files = [tmp_path / name for name in ("a.bin", "b.bin")]
    for file in files:
        file.write_bytes(file.name.encode())
    submitted = sigmill("submit", "--config", str(config), "--key", "release", "--receipts", *map(str, files))
    assert submitted.returncode == 0, submitted.stderr
    (tmp_path / "job.json").write_text(submitted.stdout)
    words = ("wait", "--config", str(config), "--job", str(tmp_path / "job.json"))
    for _ in range(2):
        waited = sigmill(*words, "--receipts", str(tmp_path / "receipts"))
        assert waited.returncode == 0, waited.stderr
        for file, line in zip(files, map(json.loads, waited.stdout.splitlines()), strict=True):
            receipt = Path(line["receipt"])
            assert receipt.name == f"{file.name}.tlog-proof"
            digest, signature = (
                hashlib.sha256(file.read_bytes()).digest(),
                base64.b64decode(line["signature"]),
            )
            verify_receipt(
                receipt.read_bytes(), trusted(rig), digest=digest, signature=signature, tenant="acme"
            )
            receipt.unlink()


async def test_while_the_sealer_is_stopped_signatures_arrive_and_say_what_they_lack(
    make_rig: MakeRig,
) -> None:
    """Within the time-out, however long it is stopped; afterwards the same request id collects the receipts."""
    rig = make_rig(service=RECORD)
    worker = rig.start_worker()
    digests = [os.urandom(32) for _ in range(2)]
    async with client_of(rig) as client:
        await client.sign("release", os.urandom(32), receipt=True, timeout_s=60)
    pid = sealer_of(worker)
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        async with client_of(rig, receipt_timeout_s=0.1) as client:
            found = [o async for o in client.sign_many("release", digests, request_id="one", receipts=True)]
    finally:
        os.kill(pid, signal.SIGCONT)
    for outcome in found:
        signature = signature_of(outcome)
        assert (signature.verified, signature.receipt) == (True, None)
        assert isinstance(signature.receipt_missing, ReceiptMissing)
        assert "the sealer of the worker's host is behind" in signature.receipt_missing.message
    os.kill(pid, signal.SIGKILL)  # the next one makes the receipts of what this one had not
    async with client_of(rig) as client:
        again = [o async for o in client.sign_many("release", digests, request_id="one", receipts=True)]
        first = await client.sign_many("release", [digests[0]], request_id="two").__anext__()
        never = await client.sign_many("release", [digests[0]], request_id="two", receipts=True).__anext__()
    assert [signature_of(o).signature for o in again] == [signature_of(o).signature for o in found]
    for digest, outcome in zip(digests, again, strict=True):
        verify_receipt(receipt_of(outcome), trusted(rig), digest=digest)
    assert signature_of(never).signature == signature_of(first).signature
    assert "announced no receipt" in str(signature_of(never).receipt_missing)


async def test_without_a_record_a_client_is_told_so_at_once(make_rig: MakeRig) -> None:
    """It does not wait: the worker says that no receipt follows."""
    rig = make_rig()
    rig.start_worker()
    async with client_of(rig, receipt_timeout_s=3600) as client:
        signature = await client.sign("release", os.urandom(32), receipt=True, timeout_s=60)
    assert signature.receipt is None
    assert "keeps no record" in str(signature.receipt_missing)


async def test_a_hostile_value_costs_its_own_receipt(make_rig: MakeRig) -> None:
    """The signature arrives with the reason for its missing receipt, and the other job keeps its receipt."""
    rig = make_rig(service=RECORD)
    rig.start_worker()
    redis = rig.connect()
    async with client_of(rig) as client:
        jobs = [
            await client.submit("release", [os.urandom(32)], receipts=True, timeout_s=60) for _ in range(2)
        ]
        before = [(await client.receipts(job, timeout_s=60))[0] for job in jobs]
    key = keyspace.receipt(jobs[1].job_ids[0])
    of_another_job = (await published.fetch(redis, jobs[0].job_ids))[0]
    assert of_another_job is not None
    async with client_of(rig, receipt_timeout_s=1.0) as client:
        for value in (b"", b"nonsense", bytes(200_000), of_another_job, None):
            await redis.delete(key)
            if value is None:
                await redis.hset(key, "of", "another type")  # type: ignore[misc]  # redis-py's own union
            else:
                await redis.set(key, value)
            good, bad = [(await client.receipts(job, timeout_s=60))[0] for job in jobs]
            assert receipt_of(good) == receipt_of(before[0])
            made = signature_of(bad)
            assert made.signature == signature_of(before[1]).signature
            assert isinstance(made.receipt_missing, ReceiptMissing if value is None else ProofInvalid)
    await redis.aclose()


def is_released(rig: Rig, job_id: str) -> bool:
    """Whether the log has the release of this job."""
    return any(
        isinstance(record, ReleasedRecord) and record.job_id == job_id.encode()
        for segment in segments_of(rig.state_dir() / "wal")
        for record in map(decode_record, read_segment(segment))
    )


@pytest.mark.timeout(2 * NICE_S)
async def test_receipts_wait_for_redis_and_signatures_do_not_wait_for_them(make_rig: MakeRig) -> None:
    """The receipts of what was signed before an outage are published after it."""
    rig = make_rig(service=RECORD, appendonly=True)
    worker = rig.start_worker()
    async with client_of(rig) as client:
        await client.sign("release", os.urandom(32), receipt=True, timeout_s=60)
        sealer = sealer_of(worker)
        assert sealer is not None
        os.kill(sealer, signal.SIGSTOP)  # else the receipt may be published before Redis is away
        job = await client.submit("release", [os.urandom(32)], receipts=True, timeout_s=60)
        await client.wait(job, timeout_s=60)
        # The client may have the result before the worker has Redis' answer, on which the receipt depends.
        await until_async(lambda: is_released(rig, job.job_ids[0]), "the release is in the log")
        rig.redis.kill()
        os.kill(sealer, signal.SIGCONT)
        folder = rig.state_dir() / "sealer" / "receipts"
        await until_async(
            lambda: any("+" in file.name for file in folder.iterdir()), "a receipt waits", within_s=NICE_S
        )
        rig.redis.start()
        found = await client.receipts(job, timeout_s=60)
    assert receipt_of(found[0])
