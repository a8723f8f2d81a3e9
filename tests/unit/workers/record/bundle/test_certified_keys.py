"""A bundle is proven from the pinned service key: it certifies the key of the checkpoint, and no other key does."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.support.farm.certified_logs import EPOCH_KEY, SERVICE, ServiceKey, certify
from tests.support.farm.logged_jobs import append, job
from workers.journal.segment_writer import SegmentWriter
from workers.record.bundle.reader import origins_of
from workers.record.bundle.verification import OriginVerifier
from workers.record.bundle.writer import export
from workers.record.folder import log_folder
from workers.record.sealer import Sealer


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Folder of a log with one job, sealed and not certified."""
    writer = SegmentWriter(tmp_path / "wal")
    append(writer, *job("acme", 1))
    sealer = Sealer(tmp_path, log_name="sigmill/prod", build="1.0", epoch_key=EPOCH_KEY)
    sealer.advance()
    sealer.sign()
    return log_folder(tmp_path, "acme")


def problems(log: Path, *service_keys: bytes) -> list[str]:
    bundle = log.parent / "bundle"
    export(log, bundle)
    (origin,) = origins_of(bundle)
    return [problem.what for problem in OriginVerifier(origin, service_keys=service_keys).run()]


def test_a_checkpoint_whose_key_the_service_key_certified_holds(log: Path) -> None:
    certify(log)
    assert problems(log, SERVICE.spki) == []


def test_without_a_statement_or_a_service_key_nothing_is_proven(log: Path) -> None:
    assert problems(log, SERVICE.spki) == ["the checkpoint is signed by none of the trusted keys"]
    certify(log)
    assert problems(log) == ["the checkpoint is signed by none of the trusted keys"]


def test_a_statement_of_another_service_key_is_refused(log: Path) -> None:
    certify(log)
    assert "signed by none of the trusted keys" in problems(log, ServiceKey().spki)[0]


def test_a_statement_about_another_key_certifies_nothing(log: Path) -> None:
    certify(log, key=Ed25519PrivateKey.from_private_bytes(bytes(32)))
    assert problems(log, SERVICE.spki) == ["the checkpoint is signed by none of the trusted keys"]


def test_a_statement_about_another_log_is_refused(log: Path) -> None:
    certify(log, origin="sigmill/prod/other/0011223344556677")
    assert "the statement is about" in problems(log, SERVICE.spki)[0]


def test_a_key_that_begins_behind_the_checkpoint_does_not_vouch_for_it(log: Path) -> None:
    certify(log, size=100)
    assert problems(log, SERVICE.spki) == ["the checkpoint is signed by none of the trusted keys"]
