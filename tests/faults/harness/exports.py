"""Fifth observer: the export of each tenant's record, as the tenant's auditor gets and verifies it at the end of a run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from queueing.errors import ProofInvalid
from queueing.protocol.client_keys import ClientPublicKey
from queueing.protocol.jobs import job_id_of
from queueing.transparency.entries import OutcomeEntry
from queueing.transparency.notes import Ed25519NoteKey
from tests.faults.history import Event, Exported, ExportProblem, ExportRead
from workers.dev.tenants import AUDIENCE
from workers.record.bundle.findings import Verified
from workers.record.bundle.reader import BundleReader, origins_of
from workers.record.bundle.search import Query, search
from workers.record.bundle.verification import OriginVerifier
from workers.record.bundle.writer import export
from workers.record.folder import FOLDER_NAME, LOGS_NAME
from workers.record.published import tenants_of
from workers.record.replacement import former_records
from workers.record.sealer import Sealer
from workers.record.volumes import RecordDamaged

LOST_OF_JOBS: Final = frozenset({"intent.lost", "outcome.lost"})
"""Losses that no fault of a run explains: each kill leaves a log from which intents and outcomes are read again."""


def export_events(
    worker: str, state_dir: Path, clients: dict[str, dict[str, ClientPublicKey]]
) -> Iterator[Event]:
    """Seal what the worker's log has by now, then export and verify the log of each tenant. Its worker has ended.

    ``clients``: public keys by tenant and client.
    """
    try:
        keys = _seal(state_dir)
    except RecordDamaged as damaged:
        yield ExportProblem(at=time.time(), worker=worker, what=f"damaged: {damaged}")
        return
    for former in former_records(state_dir):
        yield ExportProblem(at=time.time(), worker=worker, what=f"given up: {former.name}")
    for tenant, key in keys.items():
        out = state_dir / "exports" / tenant
        try:
            export(state_dir / FOLDER_NAME / LOGS_NAME / tenant, out)
            (origin,) = origins_of(out)
            verifier = OriginVerifier(origin, trusted=[key.verifier], clients=clients.get(tenant, {}))
            for problem in verifier.run():
                yield ExportProblem(at=time.time(), worker=worker, what=f"{tenant}: {problem}")
            yield from _exported(worker, tenant, origin)
        except ProofInvalid as error:
            yield ExportProblem(at=time.time(), worker=worker, what=f"{tenant}: {error.message}")
            continue
        verified = verifier.verified
        yield from loss_problems(worker, tenant, verified)
        yield ExportRead(
            at=time.time(),
            worker=worker,
            tenant=tenant,
            entries=verified.entries,
            signatures=verified.client_signatures,
        )


def loss_problems(worker: str, tenant: str, verified: Verified) -> Iterator[ExportProblem]:
    """Problems for jobs of which the log has no intent, or no outcome: the proofs hold without them, and the record is not whole."""
    for lost in verified.lost:
        if lost.code in LOST_OF_JOBS:
            what = f"{tenant}: {lost.code} at entry {lost.entry}: {lost.what}"
            yield ExportProblem(at=time.time(), worker=worker, what=what)


def _seal(state_dir: Path) -> dict[str, Ed25519NoteKey]:
    """Seal to the end of the log, as the next start would; returns the keys of the checkpoints by tenant."""
    epoch_key = Ed25519PrivateKey.generate()
    sealer = Sealer(state_dir, log_name=f"sigmill/{AUDIENCE}", build="faults", epoch_key=epoch_key)
    while sealer.advance():
        pass
    sealer.sign()
    sealer.keep()
    tenants = tenants_of(state_dir / FOLDER_NAME / LOGS_NAME)
    return {tenant: Ed25519NoteKey(sealer.origin.of(tenant), epoch_key) for tenant in sorted(tenants)}


def _exported(worker: str, tenant: str, origin: BundleReader) -> Iterator[Event]:
    for match in search(origin, Query()):
        if not isinstance(match.entry, OutcomeEntry):
            continue  # in doubt: nothing of it was released
        digests = match.envelope.digests
        items = match.row.items(digests)
        yield Exported(
            at=match.entry.at_ms / 1000,
            worker=worker,
            tenant=tenant,
            job=job_id_of(tenant, match.envelope.idempotency_key),
            digests=digests,
            signatures=tuple(item.signature_sha256 for item in items),
        )
