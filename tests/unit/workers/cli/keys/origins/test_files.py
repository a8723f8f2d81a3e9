"""Files of a statement: all of them or none, and evidence that is the statement's own."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from queueing.errors import ConfigError, ResultInvalid
from queueing.files.durable_file import replace_durably
from workers.cli.keys.origins import files
from workers.cli.keys.origins.files import check_evidence, evidence_file, write_all
from workers.pki.origin import VendorEvidence


def evidence_of(raw: bytes) -> VendorEvidence:
    return VendorEvidence(command=("attest",), sha256=hashlib.sha256(raw).hexdigest(), bytes=len(raw))


def test_a_failed_write_leaves_no_file_behind(tmp_path: Path) -> None:
    """Certificate and evidence are removed if the statement cannot be written; the error names its file."""
    (tmp_path / "tenants").write_text("a file in the place of the folder")
    certificate, evidence = tmp_path / "statements.pem", tmp_path / "sub" / "acme.evidence"
    statement = tmp_path / "tenants" / "acme.origin.p7s"

    with pytest.raises(ConfigError, match="cannot be written") as caught:
        write_all({certificate: b"c", evidence: b"e", statement: b"s"})

    assert caught.value.file == str(statement)
    assert [file.name for file in tmp_path.rglob("*") if file.is_file()] == ["tenants"]


def test_a_command_that_is_interrupted_leaves_no_file_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C between the evidence and the statement."""
    write = replace_durably

    def interrupted(file: Path, data: bytes, *, mode: int) -> None:
        if data == b"s":
            raise KeyboardInterrupt
        write(file, data, mode=mode)

    monkeypatch.setattr(files, "replace_durably", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_all({tmp_path / "a.evidence": b"e", tmp_path / "a.origin.p7s": b"s"})

    assert list(tmp_path.iterdir()) == []


def test_evidence_beside_the_statement_is_compared(tmp_path: Path) -> None:
    """Good, missing, changed, and longer than what the statement names."""
    statement = tmp_path / "acme.release.v1.00.origin.p7s"
    said = evidence_of(b"attested")

    assert check_evidence(statement, said) == "missing"
    evidence_file(statement).write_bytes(b"attested")
    assert check_evidence(statement, said) == "good"
    for other in (b"attestee", b"attested and more", b""):
        evidence_file(statement).write_bytes(other)
        with pytest.raises(ResultInvalid, match="not the evidence of the statement"):
            check_evidence(statement, said)
