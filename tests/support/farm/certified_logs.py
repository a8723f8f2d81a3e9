"""Statements of a service key about the keys that sign a log's checkpoints."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from queueing.transparency.checkpoints import Checkpoint, read_checkpoint
from queueing.transparency.merkle import leaf_hash, root_of
from queueing.transparency.notes import ECDSA, Ed25519NoteKey, VerifierKey, read_note, sign_note
from queueing.transparency.origin_statements import OriginStatement
from workers.record.exchange import STATEMENTS
from workers.record.stored_entries import StoredEntries

EPOCH_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


class ServiceKey:
    """A P-256 service key that signs notes as the service's lane does."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.spki = self._key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self.verifier = VerifierKey("sigmill/prod/service", ECDSA, self.spki)

    def sign_note(self, text: bytes) -> bytes:
        return self._key.sign(text, ec.ECDSA(hashes.SHA256()))


SERVICE = ServiceKey()


def root_at(log: Path, size: int) -> bytes:
    """Root of the tree over the first entries."""
    whole = read_checkpoint(read_note((log / "checkpoint").read_bytes()).text).size
    leaves = [leaf_hash(entry) for _, entry in StoredEntries(log, whole).entries(0)]
    return root_of(leaves[:size])


def certify(
    log: Path,
    *,
    size: int = 1,
    key: Ed25519PrivateKey = EPOCH_KEY,
    origin: str = "",
    root: bytes | None = None,
    name: str = "key",
) -> None:
    """Write a statement about a log with this size and root (default: its own)."""
    head = read_checkpoint(read_note((log / "checkpoint").read_bytes()).text)
    log_name = origin or head.origin
    statement = OriginStatement(
        audience="prod",
        epoch_key=Ed25519NoteKey(log_name, key).verifier,
        head=Checkpoint(log_name, size, root_at(log, size) if root is None else root),
        follows=None,
        host="host-1",
        build="1.0",
        issued=datetime(2026, 11, 27, tzinfo=UTC),
        expires=datetime(2026, 12, 27, tzinfo=UTC),
    )
    (log / STATEMENTS).mkdir(exist_ok=True)
    (log / STATEMENTS / f"{size:012d}-{name}").write_bytes(sign_note(statement.text, SERVICE))
