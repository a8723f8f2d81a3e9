"""Heads are published with the statement about the key that signed them, and not before there is one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from queueing.errors import ProofInvalid
from queueing.transparency.signed_heads import read_signed_head
from tests.support.farm.certified_logs import SERVICE, certify
from tests.support.farm.logged_jobs import append, job
from tests.support.farm.sealed_logs import run_to_end, sealer
from tests.support.heads.certified_heads import head_here
from workers.journal.segment_writer import SegmentWriter
from workers.record.exchange import STATEMENTS
from workers.record.folder import log_folder
from workers.record.heads.certified import CertifiedHeads
from workers.record.sealer import Sealer


class Host:
    """A sealer, and a reader of its heads."""

    def __init__(self, state_dir: Path) -> None:
        self.wal = SegmentWriter(state_dir / "wal")
        self.state_dir = state_dir
        append(self.wal, *job("acme", 1))
        self.seal(sealer(state_dir))
        self.log = log_folder(state_dir, "acme")
        self.heads = CertifiedHeads(self.log.parent)

    def seal(self, writer: Sealer) -> None:
        run_to_end(writer)
        writer.keep()


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_a_head_is_read_when_its_key_is_certified(host: Host) -> None:
    assert host.heads.read("acme") is None
    certify(host.log)
    found = host.heads.read("acme")
    assert found is not None
    head = head_here(host.log)
    assert found.origin == head.origin
    assert (
        read_signed_head(found.signed).verify(SERVICE.verifier, audience="prod", origin=head.origin) == head
    )


def test_a_head_of_a_new_key_is_not_read_before_that_is_certified_too(host: Host) -> None:
    """The statement about the former key certifies nothing that the new one signs."""
    certify(host.log)
    assert host.heads.read("acme") is not None
    append(host.wal, *job("acme", 2))
    key = Ed25519PrivateKey.generate()
    host.seal(Sealer(host.state_dir, log_name="sigmill/prod", build="1.0", epoch_key=key))
    assert host.heads.read("acme") is None
    certify(host.log, size=head_here(host.log).size, key=key, name="new")
    assert host.heads.read("acme") is not None


def test_a_statement_that_begins_behind_the_head_is_not_taken(host: Host) -> None:
    certify(host.log, size=100)
    assert host.heads.read("acme") is None


def test_a_damaged_statement_costs_itself(host: Host) -> None:
    certify(host.log)
    (host.log / STATEMENTS / "zzz").write_bytes(b"nonsense")
    assert host.heads.read("acme") is not None


@pytest.mark.parametrize("data", [b"", b"\0" * 300])
def test_a_checkpoint_that_a_power_cut_took_is_none(host: Host, data: bytes) -> None:
    certify(host.log)
    (host.log / "checkpoint").write_bytes(data)
    assert host.heads.read("acme") is None


def test_a_checkpoint_that_cannot_be_read_is_an_error_of_this_log(host: Host) -> None:
    (host.log / "checkpoint").write_bytes(b"nonsense")
    with pytest.raises(ProofInvalid):
        host.heads.read("acme")


def test_a_tenant_without_a_log_has_no_head(host: Host) -> None:
    shutil.rmtree(host.log)
    assert host.heads.read("acme") is None
