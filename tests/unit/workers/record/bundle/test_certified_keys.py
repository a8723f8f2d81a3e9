"""A bundle is proven from the pinned service key: it certifies the key of the checkpoint, and no other key does."""

from __future__ import annotations

import itertools
import os
import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from queueing.errors import ProofInvalid
from tests.support.farm.certified_logs import SERVICE, certify
from tests.support.farm.logged_jobs import append, job
from tests.support.farm.sealed_logs import seal
from tests.support.keys import EcdsaNoteKey
from workers.journal.segment_writer import SegmentWriter
from workers.record.bundle import reader
from workers.record.bundle.reader import BundleReader, origins_of
from workers.record.bundle.verification import OriginVerifier
from workers.record.bundle.writer import export
from workers.record.exchange import STATEMENTS
from workers.record.folder import log_folder


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Folder of a log with one job, sealed and not certified."""
    writer = SegmentWriter(tmp_path / "wal")
    append(writer, *job("acme", 1))
    seal(tmp_path)
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
    assert "signed by none of the trusted keys" in problems(log, EcdsaNoteKey("sigmill/prod/service").spki)[0]


def test_a_statement_about_another_key_certifies_nothing(log: Path) -> None:
    certify(log, key=Ed25519PrivateKey.from_private_bytes(bytes(32)))
    assert problems(log, SERVICE.spki) == ["the checkpoint is signed by none of the trusted keys"]


def test_a_statement_about_another_log_is_refused(log: Path) -> None:
    certify(log, origin="sigmill/prod/other/0011223344556677")
    assert "the statement is about" in problems(log, SERVICE.spki)[0]


def test_a_key_that_begins_behind_the_checkpoint_does_not_vouch_for_it(log: Path) -> None:
    certify(log, size=100)
    assert problems(log, SERVICE.spki) == ["the checkpoint is signed by none of the trusted keys"]


@pytest.mark.parametrize("size", [1, 3, 4])
def test_a_log_that_does_not_continue_what_was_certified_is_found(log: Path, size: int) -> None:
    """A sealer that is started with another past gets a statement, and the statements of the former ones tell."""
    certify(log)
    certify(log, size=size, root=bytes(32), key=Ed25519PrivateKey.from_private_bytes(bytes(32)), name="other")
    assert problems(log, SERVICE.spki) == [
        f"the service key has certified another log with {size} entries than the one that is here"
    ]


def test_a_statement_that_is_refused_is_named(log: Path) -> None:
    certify(log)
    (log / STATEMENTS / "zzz").write_bytes(b"nonsense")
    assert problems(log, SERVICE.spki)[0].startswith("statements/zzz: ")


def exported(log: Path) -> Path:
    """Folder of the origin in a bundle."""
    bundle = log.parent / "bundle"
    return bundle / export(log, bundle).checkpoint.origin.rpartition("/")[2]


def test_the_draft_of_a_statement_whose_writer_was_killed_is_no_statement(log: Path) -> None:
    """On the host it is not exported; in a bundle, where an export was killed, it is told and not read."""
    certify(log)
    draft = f".{1:020d}-key.k3v9x0aa.new"
    (log / STATEMENTS / draft).write_bytes(b"sigmill-origin/v1\n")
    folder = exported(log)
    assert not (folder / STATEMENTS / draft).exists()
    (folder / STATEMENTS / draft).write_bytes(b"sigmill-origin/v1\n")
    verifier = OriginVerifier(BundleReader(folder), service_keys=[SERVICE.spki])
    assert list(verifier.run()) == []
    assert verifier.verified.unread.first == (f"{STATEMENTS}/{draft}",)


def test_statements_that_are_no_folder_are_a_problem_and_no_crash(log: Path) -> None:
    certify(log)
    folder = exported(log)
    shutil.rmtree(folder / STATEMENTS)
    (folder / STATEMENTS).write_bytes(b"")
    found = [str(each) for each in OriginVerifier(BundleReader(folder), service_keys=[SERVICE.spki]).run()]
    assert found == [
        f"checkpoint.invalid {folder.name} {folder.name}/statements cannot be read: Not a directory"
    ]


@pytest.mark.parametrize("kind", ["link", "folder", "zeros", "pipe"])
def test_a_statement_that_is_no_file_or_is_endless_is_named(log: Path, kind: str) -> None:
    certify(log)
    folder = exported(log)
    statement = folder / STATEMENTS / "zzz"
    if kind == "link":
        statement.symlink_to(log / "checkpoint")
    elif kind == "folder":
        statement.mkdir()
    elif kind == "pipe":
        os.mkfifo(statement)
    else:
        statement.touch()
        os.truncate(statement, 1 << 30)
    (found,) = OriginVerifier(BundleReader(folder), service_keys=[SERVICE.spki]).run()
    assert found.code == "checkpoint.invalid"
    assert f"{STATEMENTS}/zzz" in found.what


def test_of_very_many_statements_the_newest_are_read_one_after_another(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "MOST_STATEMENTS", 3)
    certify(log)
    folder = exported(log)
    for number in range(20):
        (folder / STATEMENTS / f"0-{number:02d}").symlink_to("/dev/zero")
    (folder / STATEMENTS / "0-17").unlink()
    (folder / STATEMENTS / "0-17").write_bytes(b"read")
    statements = BundleReader(folder).statements()
    assert next(statements)[0] == "statements/000000000001-key"
    with pytest.raises(ProofInvalid, match="0-19 is a link"):
        next(statements)
    for number in (18, 19):
        (folder / STATEMENTS / f"0-{number}").unlink()
    assert [name for name, _ in itertools.islice(BundleReader(folder).statements(), 2)] == [
        "statements/000000000001-key",
        "statements/0-17",
    ]
