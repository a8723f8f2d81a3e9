"""Bundles with envelopes under grants, and with jobs in doubt: both are held against what their intents commit to."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import msgspec
import pytest

from queueing.protocol.client_keys import ClientPublicKey
from queueing.transparency.checkpoints import Checkpoint, sign_checkpoint
from queueing.transparency.entries import EndEntry, OpenedEntry, encode_entry
from queueing.transparency.notes import Ed25519NoteKey
from tests.support.fakes.grants import ISSUER, Seed, sealed_grant, sealed_under
from tests.support.farm.logged_jobs import append, job_under
from tests.support.farm.sealed_logs import EPOCH_KEY, seal
from workers.journal.segment_writer import SegmentWriter
from workers.record.bundle.reader import origins_of
from workers.record.bundle.verification import OriginVerifier
from workers.record.bundle.writer import export
from workers.record.folder import log_folder
from workers.record.items import ItemRow, decode_row, encode_row
from workers.record.published import publish_checkpoint
from workers.record.volumes import ROW_LENGTH, TenantLog

ISSUERS = {"ci": ClientPublicKey.from_spki(base64.b64decode(ISSUER.line))}


def bundle_of(folder: Path, *jobs: tuple[bytes, str], from_ms: int = 0) -> OriginVerifier:
    """Verifier of a bundle of jobs with these envelopes and ends, without keys of clients."""
    records = [
        record
        for number, (sealed, ended) in enumerate(jobs, 1)
        for record in job_under(number, sealed, ended)
    ]
    append(SegmentWriter(folder / "wal"), *records)
    seal(folder)
    export(log_folder(folder, "acme"), folder / "bundle", from_ms=from_ms)
    return verifier(folder)


def verifier(folder: Path, **more: Any) -> OriginVerifier:
    (reader,) = origins_of(folder / "bundle")
    key = Ed25519NoteKey(f"sigmill/prod/acme/{reader.name}", EPOCH_KEY).verifier
    return OriginVerifier(reader, trusted=[key], **more)


def under(number: int, **changes: Any) -> bytes:
    return sealed_under(idempotency_key=number.to_bytes(16), **changes)


def found(verify: OriginVerifier) -> list[str]:
    return [str(problem) for problem in verify.run()]


def test_signatures_under_grants_are_counted_and_proven_by_the_issuer(tmp_path: Path) -> None:
    verify = bundle_of(tmp_path, (under(1), "committed"), (under(2), "unknown"))
    assert found(verify) == []
    assert (verify.verified.signatures, verify.verified.granted, verify.verified.unproven) == (1, 1, 0)
    by_issuer = verifier(tmp_path, clients=ISSUERS)
    assert found(by_issuer) == []
    assert by_issuer.verified.client_signatures == 1
    other = {"ci": ClientPublicKey.from_spki(base64.b64decode(Seed(9).line))}
    assert len(found(verifier(tmp_path, clients=other))) == 1


def test_a_signature_under_a_grant_for_something_else_is_found_without_keys(tmp_path: Path) -> None:
    """A log that a changed worker wrote: the subject would be believed."""
    verify = bundle_of(tmp_path, (under(1, grant_bytes=sealed_grant(tenant="globex")), "committed"))
    (problem,) = found(verify)
    assert "its grant is for another tenant" in problem


def items_of(folder: Path) -> tuple[Path, list[ItemRow]]:
    (file,) = (folder / "bundle").glob("*/items/*")
    data, rows = file.read_bytes(), []
    while data:
        (length,) = ROW_LENGTH.unpack_from(data)
        rows.append(decode_row(data[ROW_LENGTH.size : ROW_LENGTH.size + length]))
        data = data[ROW_LENGTH.size + length :]
    return file, rows


def put(file: Path, rows: list[ItemRow]) -> None:
    file.write_bytes(b"".join(ROW_LENGTH.pack(len(encode_row(row))) + encode_row(row) for row in rows))


def test_items_of_a_job_in_doubt_are_those_that_its_intent_commits_to(tmp_path: Path) -> None:
    """An envelope of another subject in their place is found, and so is that they are missing."""
    bundle_of(tmp_path, (under(1), "unknown"), (under(2), "returned-in-doubt"))
    file, rows = items_of(tmp_path)
    assert [row.outcome for row in rows] == [2, 4]
    assert [row.envelope() is not None for row in rows] == [True, True]
    other = under(1, grant_bytes=sealed_grant(subject="repo:globex/app"))
    put(file, [ItemRow(outcome=2, salt=rows[0].salt, sealed=other, signatures=()), rows[1]])
    (problem,) = found(verifier(tmp_path))
    assert problem.endswith("/2 the envelope in its items is not the one of entry 1")
    file.unlink()
    assert [each.partition("/")[2] for each in found(verifier(tmp_path))] == [
        "2 the items of a job in doubt are missing",
        "4 the items of a job in doubt are missing",
    ]


def test_items_of_an_outcome_are_those_that_its_intent_commits_to(tmp_path: Path) -> None:
    """An envelope over the same digests for another subject has the same root over its items; its commitment is another."""
    bundle_of(tmp_path, (under(1), "committed"))
    file, (row,) = items_of(tmp_path)
    other = under(1, grant_bytes=sealed_grant(subject="repo:globex/app"))
    put(file, [msgspec.structs.replace(row, sealed=other)])
    (problem,) = found(verifier(tmp_path))
    assert problem.endswith("/2 the envelope in its items is not the one of entry 1")


def test_an_end_of_no_open_intent_is_found(tmp_path: Path) -> None:
    """A log that a changed sealer wrote and signed: its second entry ends the first, which is no intent."""
    origin = "sigmill/prod/acme/0011223344556677"
    log = TenantLog(tmp_path / "log")
    log.append(encode_entry(OpenedEntry(at_ms=1, origin=origin, follows="", build="1.0")))
    log.append(encode_entry(EndEntry(at_ms=1, kind="committed", intent=0)))
    log.write()
    head = Checkpoint(origin, log.size, log.root())
    publish_checkpoint(log.folder, sign_checkpoint(head, Ed25519NoteKey(origin, EPOCH_KEY)))
    export(log.folder, tmp_path / "bundle")
    (problem,) = found(verifier(tmp_path))
    assert problem.endswith("/1 it ends entry 0, which is no open intent")


@pytest.mark.parametrize("index", [1, 3])
def test_items_beside_an_entry_that_has_none_are_found(tmp_path: Path, index: int) -> None:
    """Beside an intent, or beside an end without doubt: a search would show them."""
    bundle_of(tmp_path, (under(1), "committed"), (under(2), "returned"))
    file, (row,) = items_of(tmp_path)
    extra = ItemRow(outcome=index, salt=bytes(16), sealed=under(9), signatures=())
    put(file, sorted([row, extra], key=lambda each: each.outcome))
    (problem,) = found(verifier(tmp_path))
    assert problem.endswith(f"/{index} there are items beside it, and it is no outcome")


def test_items_whose_intent_is_before_the_range_are_counted_as_unproven(tmp_path: Path) -> None:
    """The commitment to them is in no entry of the bundle."""
    many = [(under(number), "returned") for number in range(2, 130)]
    records = [record for number, each in enumerate(many, 2) for record in job_under(number, *each)]
    begun, end = job_under(1, under(1), "unknown")
    append(SegmentWriter(tmp_path / "wal"), begun, *records, end)
    seal(tmp_path)
    export(log_folder(tmp_path, "acme"), tmp_path / "bundle", from_ms=129)
    verify = verifier(tmp_path)
    assert found(verify) == []
    assert verify.verified.unproven == 1
