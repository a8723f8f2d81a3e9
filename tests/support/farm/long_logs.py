"""Sealed logs of several volumes, most of whose entries are canaries."""

from __future__ import annotations

from pathlib import Path

from queueing.transparency.checkpoints import Checkpoint, sign_checkpoint
from queueing.transparency.entries import CanaryEntry, encode_entry
from queueing.transparency.notes import Ed25519NoteKey
from tests.support.farm.logged_jobs import job
from tests.support.farm.sealed_logs import EPOCH_KEY
from workers.journal.records import Record
from workers.record.folder import FOLDER_NAME, FORMAT, Sealed, log_folder, read_origin, write_sealed
from workers.record.follower import Place
from workers.record.published import publish_checkpoint
from workers.record.sequencer import Sequencer
from workers.record.volumes import VOLUME, TenantLog

OLD_KEY, NEW_KEY = b"o" * 32, b"n" * 32
"""SHA-256 of the keys that signed the canaries of the first volume, and of later ones."""

LATE_KEY = b"l" * 32
"""The same of the key of a job whose intent ends the first volume, where the log has one."""

SIZE = 2 * VOLUME + 3
"""Entries: a job at the beginning of the first volume and of the third one, and canaries between them."""


def canary(key: bytes) -> bytes:
    entry = CanaryEntry(
        at_ms=5,
        token="hsm",
        key="release",
        key_version=1,
        public_key_sha256=key,
        algorithm="ECDSA_SHA_256",
        outcome="ok",
    )
    return encode_entry(entry)


def long_log(state_dir: Path, tenant: str = "acme", *, across: int = 0) -> Path:
    """Make a log as a sealer would have made it; returns its folder.

    ``across``: number of records, of three, of a job whose intent is the last entry of the first volume.
    """
    record = state_dir / FOLDER_NAME
    folder = log_folder(state_dir, tenant)
    folder.mkdir(parents=True)
    (state_dir / "wal").mkdir()
    origin = read_origin(record, "sigmill/prod", "1.0", {})
    sequencer, log = Sequencer(origin), TenantLog(folder)
    _append(sequencer, log, job(tenant, 1))
    old, new = canary(OLD_KEY), canary(NEW_KEY)
    while log.size < VOLUME - bool(across):
        log.append(old)
    sequencer.sizes[tenant] = log.size
    _append(sequencer, log, job(tenant, 3, LATE_KEY)[:across])
    while log.size < 2 * VOLUME:
        log.append(new)
    sequencer.sizes[tenant] = log.size
    _append(sequencer, log, job(tenant, 2))
    log.write()
    head = Checkpoint(origin.of(tenant), log.size, log.root())
    publish_checkpoint(folder, sign_checkpoint(head, Ed25519NoteKey(head.origin, EPOCH_KEY)))
    logs = {tenant: log.position}
    sealed = Sealed(format=FORMAT, place=Place(), sequencer=sequencer.snapshot(), logs=logs)
    write_sealed(record, sealed)
    return folder


def _append(sequencer: Sequencer, log: TenantLog, records: list[Record]) -> None:
    for record in records:
        for addition in sequencer.add(record):
            log.append(addition.data, addition.row)
