"""``sigmill wait --receipts``: of which jobs there can be receipts, and where they go."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
from click import UsageError
from click.testing import CliRunner, Result

from queueing.client.submitted_job import Job, JobPart
from queueing.errors import ConfigError
from queueing.protocol.algorithms import Algorithm
from workers.cli.signing.out_dir import receipts_in
from workers.cli.signing.submit import SubmittedItem, SubmittedLine
from workers.cli.signing.wait import wait

DIGEST = bytes(32)


def submitted(folder: Path, *names: str, receipts: bool) -> Path:
    job = Job(
        tenant="acme",
        key="release",
        key_version=1,
        algorithm=Algorithm.ECDSA_SHA_256,
        count=len(names),
        parts=(JobPart("job", bytes(16), (DIGEST,) * len(names)),),
        receipts=receipts,
    )
    items = tuple(SubmittedItem(name=name, digest=f"sha256:{DIGEST.hex()}") for name in names)
    file = folder / "job.json"
    file.write_bytes(msgspec.json.encode(SubmittedLine(job_ids=job.job_ids, job=job, items=items)))
    return file


def run(folder: Path, *words: object) -> Result:
    config = folder / "client.toml"
    config.write_text("")
    more = ["--config", str(config), "--receipts", str(folder / "receipts"), *map(str, words)]
    return CliRunner().invoke(wait, more, standalone_mode=False)


@pytest.mark.parametrize(
    "names, receipts, what",
    [
        (("a",), False, "was submitted without --receipts"),
        (("a:b", "a-b"), True, "would both be written to"),
    ],
)
def test_a_job_whose_receipts_cannot_be_written_is_a_usage_error(
    tmp_path: Path, names: tuple[str, ...], receipts: bool, what: str
) -> None:
    """It comes before the client's file is read, which is empty here."""
    result = run(tmp_path, "--job", submitted(tmp_path, *names, receipts=receipts))
    assert isinstance(result.exception, UsageError)
    assert what in str(result.exception)


def test_the_draft_of_a_receipt_that_a_killed_run_left_is_removed(tmp_path: Path) -> None:
    receipt = receipts_in(tmp_path / "receipts").path("a")
    draft = receipt.with_name(f".{receipt.name}.01234567.new")
    draft.parent.mkdir()
    draft.touch()
    os.utime(draft, (0, 0))
    result = run(tmp_path, "--job", submitted(tmp_path, "a", receipts=True))
    assert isinstance(result.exception, ConfigError)  # client.toml is empty here
    assert not draft.exists()


def test_a_bare_job_id_has_no_digests_to_verify_a_receipt_by(tmp_path: Path) -> None:
    result = run(tmp_path, "{acme}job")
    assert isinstance(result.exception, UsageError)
    assert "--receipts needs --job" in str(result.exception)


@pytest.mark.parametrize("job_file", ["/dev/zero", "/"], ids=["device", "folder"])
def test_a_job_is_read_from_a_file_that_has_an_end(tmp_path: Path, job_file: str) -> None:
    result = run(tmp_path, "--job", job_file)
    assert isinstance(result.exception, UsageError)
    assert "a folder or a device" in str(result.exception)


def test_a_job_larger_than_any_is_not_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipe may have no end; memory has one."""
    monkeypatch.setattr("workers.cli.signing.wait._MOST_BYTES", 100)
    result = run(tmp_path, "--job", submitted(tmp_path, "a", receipts=True))
    assert isinstance(result.exception, UsageError)
    assert "not the output of" in str(result.exception)
