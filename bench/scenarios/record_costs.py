"""Costs of a sealed log: bytes on disk, export, verification, a receipt. A program of its own, whose memory is its alone.

The log is sealed from real envelopes of one client with 64 P-256 digests each; signatures are random bytes of their length. A service
key has certified the key of its checkpoint, as on a host: a receipt has that statement in it. Rates are per second of CPU: others on the
machine do not move them.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from queueing.files.folders import entries_below
from queueing.protocol.client_keys import ClientKey, ClientPublicKey
from queueing.protocol.envelope import Envelope, seal
from queueing.protocol.jobs import ArqResult, JobOutcome, ResultHints, encode_result, job_id_of
from queueing.transparency.checkpoints import read_checkpoint
from queueing.transparency.notes import ECDSA, Ed25519NoteKey, VerifierKey, read_note, signature_line
from queueing.transparency.origin_statements import OriginStatement
from workers.journal.records import IntentRecord, OutcomeRecord, ReleasedRecord, encode_record
from workers.journal.segment_writer import SegmentWriter
from workers.journal.segments import frame
from workers.record.bundle.reader import origins_of
from workers.record.bundle.receipts import make_receipt
from workers.record.bundle.search import Query, search
from workers.record.bundle.verification import OriginVerifier
from workers.record.bundle.writer import export
from workers.record.exchange import STATEMENTS
from workers.record.folder import FOLDER_NAME, log_folder
from workers.record.sealer import Sealer

TENANT: Final = "acme"
CLIENT: Final = "build-1"
LOG_NAME: Final = "sigmill/bench"
SIZE: Final = 64
JOBS: Final = 3_200
_SIGNATURE_BYTES: Final = 71


class Costs(msgspec.Struct, frozen=True, kw_only=True):
    """Costs of one step: signatures, and what there was to measure of it. ``memory_mb``: most that the process ever had."""

    signatures: int
    cpu_s: float
    bytes_per_signature: float = 0.0
    memory_mb: float = 0.0


def make_log(folder: Path) -> tuple[Ed25519PrivateKey, ClientKey]:
    """Write a write-ahead log of ``JOBS`` jobs, and seal it; returns the keys of checkpoints and client."""
    client, epoch_key = ClientKey.generate(), Ed25519PrivateKey.generate()
    writer = SegmentWriter(folder / "wal")
    for number in range(JOBS):
        records = _job(client, number)
        writer.append(b"".join([frame(encode_record(record)) for record in records]), records)
    writer.abandon()
    writer.append(b"", ())  # a segment that is finished is read to its end
    sealer = Sealer(folder, log_name=LOG_NAME, build="bench", epoch_key=epoch_key)
    while sealer.advance():
        pass
    sealer.sign()
    sealer.keep()
    _certify(log_folder(folder, TENANT), epoch_key)
    return epoch_key, client


def _certify(log: Path, epoch_key: Ed25519PrivateKey) -> None:
    """Write the statement of a service key (P-256) about the key of the checkpoint."""
    service = ec.generate_private_key(ec.SECP256R1())
    spki = service.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    head = read_checkpoint(read_note((log / "checkpoint").read_bytes()).text)
    issued = datetime.now(UTC).replace(microsecond=0)
    text = OriginStatement(
        audience="bench",
        epoch_key=Ed25519NoteKey(head.origin, epoch_key).verifier,
        head=head,
        follows=None,
        host="build-host-1.example.com",
        build="bench",
        issued=issued,
        expires=issued + timedelta(days=7),
    ).text
    line = signature_line(
        VerifierKey(f"{LOG_NAME}/service", ECDSA, spki), service.sign(text.encode(), ec.ECDSA(SHA256()))
    )
    (log / STATEMENTS).mkdir()
    (log / STATEMENTS / "000000000001-bench").write_text(f"{text}\n{line}", encoding="utf-8")


def _job(client: ClientKey, number: int) -> tuple[IntentRecord, OutcomeRecord, ReleasedRecord]:
    idempotency_key = number.to_bytes(16)
    envelope = Envelope(
        audience="bench",
        tenant=TENANT,
        client=CLIENT,
        key="release",
        key_version=0,
        algorithm="ECDSA_SHA_256",
        issued_at_ms=1_800_000_000_000,
        expires_at_ms=1_800_000_600_000,
        idempotency_key=idempotency_key,
        digests=tuple(os.urandom(32) for _ in range(SIZE)),
    )
    job_id, lease = job_id_of(TENANT, idempotency_key).encode(), b"host-1.7.ab:%d" % number
    signatures = tuple(os.urandom(_SIGNATURE_BYTES) for _ in range(SIZE))
    outcome = JobOutcome("release", 1, bytes(32), "ECDSA_SHA_256", signatures, {})
    result = encode_result(
        ArqResult(et=1, s=True, r=outcome, k=ResultHints(), st=1, ft=1, q="q", id=job_id.decode())
    )
    at_ms = 1_800_000_000_000 + number
    return (
        IntentRecord(at_ms, TENANT, job_id, lease, 1, seal(envelope, client), os.urandom(16)),
        OutcomeRecord(at_ms, TENANT, job_id, lease, "", result),
        ReleasedRecord(at_ms, TENANT, job_id, lease, "committed"),
    )


def export_costs(folder: Path) -> Costs:
    """Export the whole log."""
    began = time.process_time()
    export(log_folder(folder, TENANT), folder / "bundle")
    cpu_s = time.process_time() - began
    used = sum(file.lstat().st_size for file in entries_below(folder / FOLDER_NAME))
    signatures = JOBS * SIZE
    return Costs(signatures=signatures, cpu_s=cpu_s, bytes_per_signature=used / signatures)


def receipt_of_last(folder: Path) -> bytes:
    """The receipt of the last digest."""
    (origin,) = origins_of(folder / "bundle")
    *_, match = search(origin, Query())
    return make_receipt(origin, match, SIZE - 1)


def verify_costs(folder: Path, epoch_key: bytes, client_key: bytes) -> Costs:
    """Verify the bundle; with the client's signatures where its key is given. Raises ``ValueError`` where it does not hold."""
    (origin,) = origins_of(folder / "bundle")
    name = origin.checkpoint().decode().split("\n")[0]
    trusted = Ed25519NoteKey(name, Ed25519PrivateKey.from_private_bytes(epoch_key)).verifier
    clients = {CLIENT: ClientPublicKey.from_spki(client_key)} if client_key else None
    began = time.process_time()
    verifier = OriginVerifier(origin, trusted=[trusted], clients=clients)
    problems = list(verifier.run())
    cpu_s = time.process_time() - began
    if problems:
        raise ValueError(str(problems[0]))
    memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Costs(signatures=verifier.verified.signatures, cpu_s=cpu_s, memory_mb=memory_mb)


if __name__ == "__main__":
    _, place, epoch, *clients = sys.argv
    costs = verify_costs(Path(place), bytes.fromhex(epoch), bytes.fromhex(clients[0]) if clients else b"")
    sys.stdout.buffer.write(msgspec.json.encode(costs))
