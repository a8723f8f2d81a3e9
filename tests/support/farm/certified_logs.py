"""Statements of a service key about the keys that sign a log's checkpoints."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from queueing.transparency.checkpoints import Checkpoint, read_checkpoint
from queueing.transparency.merkle import leaf_hash, root_of
from queueing.transparency.notes import Ed25519NoteKey, read_note, sign_note
from queueing.transparency.origin_statements import OriginStatement
from tests.support.farm.sealed_logs import EPOCH_KEY
from tests.support.keys import EcdsaNoteKey
from workers.record.exchange import STATEMENTS
from workers.record.stored_entries import StoredEntries

SERVICE = EcdsaNoteKey("sigmill/prod/service")


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
