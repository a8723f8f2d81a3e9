"""Jobs as a worker writes them into its write-ahead log: intents, outcomes and releases, with real envelopes."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from queueing.protocol.envelope import Envelope, seal
from queueing.protocol.jobs import ArqResult, JobOutcome, ResultHints, WireError, encode_result
from workers.journal.records import (
    IntentRecord,
    OutcomeRecord,
    Record,
    ReleasedRecord,
    ReturnedRecord,
    UnknownRecord,
    encode_record,
)
from workers.journal.segment_writer import SegmentWriter
from workers.journal.segments import frame

CLIENT_KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
SECRET_DIGEST = b"the digest of a secret release!!"


class Client:
    def sign_envelope(self, message: bytes) -> bytes:
        return CLIENT_KEY.sign(message)


def sealed_envelope(
    tenant: str, number: int, digests: tuple[bytes, ...] = (SECRET_DIGEST, bytes(32))
) -> bytes:
    envelope = Envelope(
        audience="prod",
        tenant=tenant,
        client="build-1",
        key="release",
        key_version=0,
        algorithm="ECDSA_SHA_256",
        issued_at_ms=1,
        expires_at_ms=2,
        idempotency_key=number.to_bytes(16),
        digests=digests,
    )
    return seal(envelope, Client())


def intent(tenant: str, number: int) -> IntentRecord:
    return IntentRecord(
        number, tenant, b"job%d" % number, b"w:1", 1, sealed_envelope(tenant, number), number.to_bytes(16)
    )


def result(number: int, key: bytes = bytes(32)) -> bytes:
    outcome = JobOutcome(
        "release", 1, key, "ECDSA_SHA_256", (b"signature", None), {1: WireError("digest.length")}
    )
    arq = ArqResult(et=1, s=True, r=outcome, k=ResultHints(), st=1, ft=1, q="q", id=f"job{number}")
    return encode_result(arq)


def job(tenant: str, number: int, key: bytes = bytes(32)) -> list[Record]:
    """Records of a job that was signed by the key with this SHA-256."""
    name = b"job%d" % number
    return [
        intent(tenant, number),
        OutcomeRecord(number, tenant, name, b"w:1", "", result(number, key)),
        ReleasedRecord(number, tenant, name, b"w:1", "committed"),
    ]


def job_under(number: int, sealed: bytes, ended: str = "committed") -> list[Record]:
    """Records of a job of acme with this envelope of two digests; one that ended in doubt has no outcome."""
    name = b"job%d" % number
    begun = IntentRecord(number, "acme", name, b"w:1", 1, sealed, number.to_bytes(16))
    match ended:
        case "unknown":
            return [begun, UnknownRecord(number, "acme", name, b"w:1")]
        case "returned" | "returned-in-doubt":
            return [begun, ReturnedRecord(number, "acme", name, b"w:1", ended == "returned-in-doubt")]
    outcome = OutcomeRecord(number, "acme", name, b"w:1", "", result(number))
    return [begun, outcome, ReleasedRecord(number, "acme", name, b"w:1", ended)]


def append(writer: SegmentWriter, *records: Record) -> None:
    writer.append(b"".join(frame(encode_record(record)) for record in records), records)
