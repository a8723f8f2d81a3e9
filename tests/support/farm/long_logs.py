"""Sealed logs of several volumes, most of whose entries are canaries."""

from __future__ import annotations

from pathlib import Path

from queueing.transparency.checkpoints import Checkpoint, sign_checkpoint
from queueing.transparency.entries import CanaryEntry, encode_entry
from queueing.transparency.notes import Ed25519NoteKey
from tests.support.farm.logged_jobs import job
from tests.support.farm.sealed_logs import EPOCH_KEY
from workers.record.folder import FOLDER_NAME, FORMAT, Sealed, log_folder, read_origin, write_sealed
from workers.record.follower import Place
from workers.record.published import publish_checkpoint
from workers.record.sequencer import Sequencer
from workers.record.volumes import VOLUME, TenantLog

OLD_KEY, NEW_KEY = b"o" * 32, b"n" * 32
"""SHA-256 of the keys that signed the canaries of the first volume, and of later ones."""

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


def long_log(state_dir: Path, tenant: str = "acme") -> Path:
    """Make a log as a sealer would have made it; returns its folder."""
    record = state_dir / FOLDER_NAME
    folder = log_folder(state_dir, tenant)
    folder.mkdir(parents=True)
    (state_dir / "wal").mkdir()
    origin = read_origin(record, "sigmill/prod", "1.0", {})
    sequencer, log = Sequencer(origin), TenantLog(folder)
    _job(sequencer, log, tenant, 1)
    old, new = canary(OLD_KEY), canary(NEW_KEY)
    while log.size < VOLUME:
        log.append(old)
    while log.size < 2 * VOLUME:
        log.append(new)
    sequencer.sizes[tenant] = log.size
    _job(sequencer, log, tenant, 2)
    log.write()
    head = Checkpoint(origin.of(tenant), log.size, log.root())
    publish_checkpoint(folder, sign_checkpoint(head, Ed25519NoteKey(head.origin, EPOCH_KEY)))
    logs = {tenant: log.position}
    sealed = Sealed(format=FORMAT, place=Place(), sequencer=sequencer.snapshot(), logs=logs)
    write_sealed(record, sealed)
    return folder


def _job(sequencer: Sequencer, log: TenantLog, tenant: str, number: int) -> None:
    for record in job(tenant, number):
        for addition in sequencer.add(record):
            log.append(addition.data, addition.row)
