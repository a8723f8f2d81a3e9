"""Logs that a changed sealer wrote and signed: every hash and signature holds, and the entries do not."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from queueing.protocol.envelope import read_unverified
from queueing.transparency.checkpoints import Checkpoint, sign_checkpoint
from queueing.transparency.commitments import envelope_commitment, items_root
from queueing.transparency.entries import Entry, IntentEntry, OpenedEntry, OutcomeEntry, encode_entry
from queueing.transparency.notes import Ed25519NoteKey
from tests.support.farm.logged_jobs import sealed_envelope
from tests.support.farm.sealed_logs import EPOCH_KEY
from workers.record.items import ItemRow, encode_row
from workers.record.published import publish_checkpoint
from workers.record.volumes import TenantLog

ORIGIN = "sigmill/prod/acme/0011223344556677"
SALT = bytes(16)
SIGNATURE = hashlib.sha256(b"signature").digest()
SEALED = sealed_envelope("acme", 1)


def intent_of(sealed: bytes = SEALED) -> IntentEntry:
    """Intent to sign this envelope, as an honest sealer writes it."""
    envelope = read_unverified(sealed).envelope
    return IntentEntry(
        at_ms=1,
        attempt=1,
        client=envelope.client,
        key=envelope.key,
        key_version=envelope.key_version,
        algorithm=envelope.algorithm,
        digests=len(envelope.digests),
        commitment=envelope_commitment(SALT, sealed),
    )


def row_of(outcome: int, sealed: bytes = SEALED) -> ItemRow:
    """Items of the envelope, of whose digests the first is signed."""
    count = len(read_unverified(sealed).envelope.digests)
    signatures = (SIGNATURE, *(b"",) * (count - 1))
    return ItemRow(outcome=outcome, salt=SALT, sealed=sealed, signatures=signatures)


def outcome_of(intent: int, sealed: bytes = SEALED) -> OutcomeEntry:
    """Outcome of the intent at this entry, with these items."""
    digests = read_unverified(sealed).envelope.digests
    return OutcomeEntry(
        at_ms=2,
        intent=intent,
        key_version=1,
        public_key_sha256=bytes(32),
        digests=len(digests),
        signed=1,
        items_root=items_root(SALT, row_of(0, sealed).items(digests)),
        code="",
    )


def write_log(folder: Path, entries: Sequence[tuple[Entry, ItemRow | None]]) -> None:
    """A log of acme with its first entry and these, under a checkpoint of the tests' key."""
    log = TenantLog(folder)
    log.append(encode_entry(OpenedEntry(at_ms=1, origin=ORIGIN, follows="", build="1.0")))
    for entry, row in entries:
        log.append(encode_entry(entry), None if row is None else encode_row(row))
    log.write()
    head = Checkpoint(ORIGIN, log.size, log.root())
    publish_checkpoint(folder, sign_checkpoint(head, Ed25519NoteKey(ORIGIN, EPOCH_KEY)))
