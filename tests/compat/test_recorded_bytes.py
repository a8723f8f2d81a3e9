"""Bytes that version 0.1.0 wrote, recorded: every later version reads them.

They are in queues and logs while hosts are upgraded one by one, and logs are kept for years. A changed form
is a new version beside the old one, and is recorded here; recorded bytes are never replaced.
"""

from __future__ import annotations

import os

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from queueing.errors import LimitRate
from queueing.protocol import keyspace
from queueing.protocol.algorithms import Algorithm
from queueing.protocol.client_keys import ClientKey, ClientPublicKey
from queueing.protocol.envelope import read_unverified
from queueing.protocol.jobs import JobOutcome, content_hash, decode_job, decode_result, job_id_of
from queueing.unix_time import unix_ms
from tests.support.farm.forging import Forger, enqueue, outcome_of, payload
from tests.support.rig.shared_rig import SharedRig
from workers.journal import records
from workers.journal.records import decode_record

AT_MS = 1_790_000_000_000
JOB_ID = "{acme}664fc86847e2ce3411cd0a3aa4512eb2"

SEALED = bytes.fromhex(
    "92c49d9c01ac70726f642f65752d77657374a461636d65a76275696c642d31a772656c6561736500ad45434453415f53"
    "48415f323536cf000001a0c4506c00cf000001a0c4515660c410000102030405060708090a0b0c0d0e0fc092c4201111"
    "111111111111111111111111111111111111111111111111111111111111c42022222222222222222222222222222222"
    "22222222222222222222222222222222c4408204b2cb343f96df9989a26c1de6a4e321fce31f5c87c433555224e1ccb8"
    "9693d9febb791a22c4c853355f7dd0a575939dcfbc555d3798a654507430c67f0000"
)
JOB = bytes.fromhex(
    "85a174c0a166a47369676ea16191c4e292c49d9c01ac70726f642f65752d77657374a461636d65a76275696c642d31a7"
    "72656c6561736500ad45434453415f5348415f323536cf000001a0c4506c00cf000001a0c4515660c410000102030405"
    "060708090a0b0c0d0e0fc092c4201111111111111111111111111111111111111111111111111111111111111111c420"
    "2222222222222222222222222222222222222222222222222222222222222222c4408204b2cb343f96df9989a26c1de6"
    "a4e321fce31f5c87c433555224e1ccb89693d9febb791a22c4c853355f7dd0a575939dcfbc555d3798a654507430c67f"
    "0000a16b84a16e02a3616c67ad45434453415f5348415f323536a168c41011961e7c2b6e9b35d3e33993318ab554a272"
    "65d9203030303030303030303030303030303030303030303030303030303030303030a26574cf000001a0c4506c00"
)
RESULT = bytes.fromhex(
    "8ba17401a166a47369676ea16190a16b81a168c41011961e7c2b6e9b35d3e33993318ab554a26574cf000001a0c4506c"
    "00a173c3a17286a36b6579a772656c65617365ab6b65795f76657273696f6e01b17075626c69635f6b65795f73686132"
    "3536c4203333333333333333333333333333333333333333333333333333333333333333a9616c676f726974686dad45"
    "434453415f5348415f323536aa7369676e61747572657392c44644444444444444444444444444444444444444444444"
    "444444444444444444444444444444444444444444444444444444444444444444444444444444444444444444444444"
    "c0a66572726f7273810182a4636f6465a968736d2e6661756c74a76d657373616765a6646576696365a27374cf000001"
    "a0c4506c01a26674cf000001a0c4506c02a171b47369676d696c6c3a7b61636d657d3a7175657565a26964d9267b6163"
    "6d657d3636346663383638343765326365333431316364306133616134353132656232"
)
FAILURE = bytes.fromhex(
    "8ba17401a166a47369676ea16190a16b82a168c41011961e7c2b6e9b35d3e33993318ab554a5616761696e01a26574cf"
    "000001a0c4506c00a173c2a17283a4636f6465aa6c696d69742e72617465a76d657373616765a56c61746572ad726574"
    "72795f61667465725f73cb4004000000000000a27374cf000001a0c4506c01a26674cf000001a0c4506c02a171b47369"
    "676d696c6c3a7b61636d657d3a7175657565a26964d9267b61636d657d36363466633836383437653263653334313163"
    "64306133616134353132656232"
)
RECORDS = {
    "Opened": "93a64f70656e6564cf000001a0c4506c0003",
    "Intent": "97a6496e74656e74cf000001a0c4506c00a461636d65c4267b61636d657d3636346663383638343765326365333431316364306133616134353132656232c403773a3701c4067365616c6564",
    "Outcome": "98a74f7574636f6d65cf000001a0c4506c00a461636d65c4267b61636d657d3636346663383638343765326365333431316364306133616134353132656232c403773a37d9203030303030303030303030303030303030303030303030303030303030303030c406726573756c74c40464656164",
    "Released": "96a852656c6561736564cf000001a0c4506c00a461636d65c4267b61636d657d3636346663383638343765326365333431316364306133616134353132656232c403773a37a9636f6d6d6974746564",
    "Returned": "96a852657475726e6564cf000001a0c4506c00a461636d65c4267b61636d657d3636346663383638343765326365333431316364306133616134353132656232c403773a37c3",
    "Unknown": "95a7556e6b6e6f776ecf000001a0c4506c00a461636d65c4267b61636d657d3636346663383638343765326365333431316364306133616134353132656232c403773a37",
}
OUTCOME_BEFORE_DEAD_LETTERS = "97a74f7574636f6d65cf000001a0c4506c00a461636d65c4267b61636d657d3636346663383638343765326365333431316364306133616134353132656232c403773a37d9203030303030303030303030303030303030303030303030303030303030303030c406726573756c74"


def test_a_recorded_envelope_verifies_and_says_what_it_said() -> None:
    unverified = read_unverified(SEALED)
    key = ClientKey(ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
    ClientPublicKey.from_spki(key.public_spki).verify_envelope(unverified.signed_bytes, unverified.signature)
    envelope = unverified.envelope
    assert (envelope.audience, envelope.tenant, envelope.client) == ("prod/eu-west", "acme", "build-1")
    assert (envelope.key, envelope.key_version, envelope.algorithm) == ("release", 0, "ECDSA_SHA_256")
    assert (envelope.issued_at_ms, envelope.expires_at_ms) == (AT_MS, AT_MS + 60_000)
    assert envelope.digests == (b"\x11" * 32, b"\x22" * 32)


def test_a_recorded_job_is_understood() -> None:
    """Its envelope, hints, content hash and id are those that were recorded."""
    job = decode_job(JOB)
    assert job.sealed == SEALED
    assert (job.hints.n, job.hints.alg, job.hints.re) == (2, "ECDSA_SHA_256", "0" * 32)
    envelope = read_unverified(job.sealed).envelope
    assert job.hints.h == content_hash(envelope)
    assert job_id_of(envelope.tenant, envelope.idempotency_key) == JOB_ID


def test_recorded_results_are_understood() -> None:
    result = decode_result(RESULT)
    assert isinstance(result.outcome, JobOutcome)
    assert result.outcome.signatures == (b"\x44" * 70, None)
    assert result.outcome.errors[1].code == "hsm.fault"
    failure = decode_result(FAILURE).outcome
    assert isinstance(failure, LimitRate)
    assert failure.retry_after_s == 2.5


@pytest.mark.parametrize("name", RECORDS)
def test_a_recorded_log_record_is_understood(name: str) -> None:
    """Recovery and audit read the log of an older worker."""
    record = decode_record(bytes.fromhex(RECORDS[name]))
    assert type(record) is getattr(records, f"{name}Record")
    assert record.at_ms == AT_MS


def test_an_outcome_from_before_dead_letters_is_understood() -> None:
    """A record that is shorter by the field that was added."""
    record = decode_record(bytes.fromhex(OUTCOME_BEFORE_DEAD_LETTERS))
    assert isinstance(record, records.OutcomeRecord)
    assert (record.result, record.dead_letter) == (b"result", b"")


def test_an_outcome_from_before_dropped_signatures_is_understood() -> None:
    record = decode_record(bytes.fromhex(RECORDS["Outcome"]))
    assert isinstance(record, records.OutcomeRecord)
    assert (record.result, record.dead_letter, record.dropped) == (b"result", b"dead", 0)


class _FormerOutcome(msgspec.Struct, frozen=True, array_like=True, tag="Outcome"):
    """Outcome record as version 0.1.0 has it."""

    at_ms: int
    tenant: str
    job_id: bytes
    lease: bytes
    reply_id: str
    result: bytes
    dead_letter: bytes = b""


def test_the_former_version_reads_an_outcome_with_dropped_signatures() -> None:
    """Its process may be the next one on a host after the upgrade is taken back."""
    raw = records.encode_record(records.OutcomeRecord(AT_MS, "acme", b"j", b"w:7", "", b"result", b"dead", 3))
    former = msgspec.msgpack.decode(raw, type=_FormerOutcome)
    assert (former.result, former.dead_letter) == (b"result", b"dead")


async def test_a_job_in_the_first_form_is_signed(shared_rig: SharedRig) -> None:
    """Written here field by field, with nothing of today's encoders: a client of then on a queue of now."""
    now_ms = unix_ms()
    digest = os.urandom(32)
    body = [
        1, "sigmill-dev", "acme", "build-1", "release", 0, "ECDSA_SHA_256",
        now_ms, now_ms + 60_000, os.urandom(16), None, [digest],
    ]  # fmt: skip
    sealed = Forger(key=shared_rig.rig.keys["acme"]).seal_raw(body)
    hints = {"n": 1, "alg": "ECDSA_SHA_256"}
    redis = shared_rig.rig.connect()
    try:
        job_id = await enqueue(redis, "acme", payload(sealed, hints=hints))
        outcome = await outcome_of(redis, job_id)
        stock = msgspec.msgpack.decode(await redis.get(keyspace.RESULT_PREFIX.encode() + job_id))
    finally:
        await redis.aclose()
    assert isinstance(outcome, JobOutcome)
    (signature,) = outcome.signatures
    assert signature is not None
    shared_rig.rig.tokens["acme"].keys["acme.release.v1"].verify(
        Algorithm(outcome.algorithm), digest, signature
    )
    assert {"t", "f", "a", "k", "et", "s", "r", "st", "ft", "q", "id"} == set(stock), "as arq has it"


@pytest.mark.parametrize("counted", ["2:0", "1:0:1:300", "1:0:1:300:150", "1:0:1:300:150:0"])
async def test_a_job_that_was_counted_in_an_earlier_form_is_signed(
    shared_rig: SharedRig, counted: str
) -> None:
    """``sigmill:{tenant}:claims`` grew by fields: attempts, fence; digests, bytes; charge; crashes."""
    redis = shared_rig.rig.connect()
    try:
        job_id = os.urandom(16).hex()
        await redis.execute_command("HSET", keyspace.claims("acme"), job_id, counted)  # type: ignore[no-untyped-call]
        sealed = Forger(key=shared_rig.rig.keys["acme"]).seal()
        await enqueue(redis, "acme", payload(sealed), job_id)
        outcome = await outcome_of(redis, job_id.encode())
        left = await redis.execute_command("HGET", keyspace.claims("acme"), job_id)  # type: ignore[no-untyped-call]
    finally:
        await redis.aclose()
    assert isinstance(outcome, JobOutcome)
    assert outcome.signatures[0]
    assert left is None, "the commit removes it"
