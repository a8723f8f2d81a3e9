"""``sigmill audit find`` by the grant of a job: whose build asked for a signature, and with which token."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.support.fakes.grants import sealed_grant, sealed_under
from tests.support.farm.logged_events import HASH, LANE
from tests.support.farm.logged_jobs import append, job, job_under
from tests.support.farm.sealed_logs import seal
from workers.cli.audit import audit
from workers.cli.shell.output import Output
from workers.journal.event_records import StopOrderRecord
from workers.journal.segment_writer import SegmentWriter
from workers.record.bundle.writer import export
from workers.record.folder import log_folder

SUBJECT = "repo:acme/app"
DIGEST = (b"\x01" * 32).hex()


def under(number: int, ended: str = "committed", **changes: Any) -> list[Any]:
    """Records of a job under a grant with these changes."""
    return job_under(
        number, sealed_under(sealed_grant(**changes), idempotency_key=number.to_bytes(16)), ended
    )


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Jobs of two subjects and a client, those of one subject in doubt as well, and orders against both."""
    folder = tmp_path_factory.mktemp("find")
    append(
        SegmentWriter(folder / "wal"),
        *job("acme", 1),
        *under(2),
        *under(3, subject="repo:acme/other", evidence_sha256=HASH),
        *under(4, "unknown"),
        *under(5, "returned-in-doubt"),
        *under(6, "returned"),
        *job_under(7, sealed_under(b"rubbish", idempotency_key=(7).to_bytes(16))),
        StopOrderRecord(9, "acme", LANE, "anna", "subject", SUBJECT, "stolen token"),
        StopOrderRecord(9, "acme", LANE, "anna", "issuer", "ci", "stolen key"),
        StopOrderRecord(9, "acme", LANE, "anna", "client", "build-1", "stolen laptop"),
        StopOrderRecord(9, "acme", LANE, "anna", "version", "release/3", "weak"),
    )
    seal(folder)
    export(log_folder(folder, "acme"), folder / "bundle")
    return folder / "bundle"


def find(bundle: Path, *words: str, as_json: bool = True) -> Result:
    return CliRunner().invoke(
        audit, ["find", str(bundle), *words], obj=Output(as_json=as_json), standalone_mode=False
    )


def found(bundle: Path, *words: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in find(bundle, *words).stdout.splitlines()]


def jobs(lines: list[dict[str, Any]]) -> list[tuple[int, str]]:
    """Signatures, and the end in doubt, of each line."""
    return [(line["signed"], line.get("in_doubt", "")) for line in lines]


def test_the_jobs_of_a_subject_are_found_with_issuer_and_evidence(bundle: Path) -> None:
    """Those in doubt as well, of which any digest may have been signed; one that came back unsigned is no such job."""
    lines = found(bundle, "--subject", SUBJECT)
    assert jobs(lines) == [(1, ""), (0, "unknown"), (0, "returned-in-doubt")]
    assert {(line["issuer"], line["subject"], line["evidence_sha256"]) for line in lines} == {
        ("ci", SUBJECT, (b"e" * 32).hex())
    }
    assert {line["digests"] for line in lines} == {2}


@pytest.mark.parametrize(
    "words, count",
    [
        (("--issuer", "ci"), 4),
        (("--issuer", "ci", "--subject", "repo:acme/other"), 1),
        (("--issuer", "another"), 0),
        (("--subject", "repo:acme"), 0),
        (("--evidence", HASH.hex().upper()), 1),
        (("--subject", SUBJECT, "--evidence", HASH.hex()), 0),
        (("--subject", SUBJECT, "--key", "another"), 0),
        (("--subject", SUBJECT, "--digest", DIGEST), 3),
        (("--client", "build-1"), 1),
    ],
)
def test_all_conditions_of_a_grant_must_hold(bundle: Path, words: tuple[str, ...], count: int) -> None:
    """A subject is compared as a whole; an envelope whose grant cannot be read has none."""
    assert len(found(bundle, *words)) == count


def test_people_see_the_subject_and_what_is_in_doubt(bundle: Path) -> None:
    text = find(bundle, "--subject", SUBJECT, as_json=False).stdout
    assert SUBJECT in text
    assert "? of 2" in text
    assert "SUBJECT" not in find(bundle, "--client", "build-1", as_json=False).stdout


@pytest.mark.parametrize(
    "words, name",
    [
        (("--subject", SUBJECT), SUBJECT),
        (("--issuer", "ci"), "ci"),
        (("--client", "build-1"), "build-1"),
        (("--key", "release"), "release/3"),
    ],
)
def test_an_order_is_found_by_what_it_stops(bundle: Path, words: tuple[str, ...], name: str) -> None:
    (line,) = found(bundle, "--event", "order", *words)
    assert line["event"]["name"] == name


@pytest.mark.parametrize(
    "words",
    [
        ("--subject", ""),
        ("--subject", "ünïcode"),
        ("--subject", "x" * 513),
        ("--subject", "line\nbreak"),
        ("--issuer", " "),
        ("--evidence", ""),
        ("--evidence", "00" * 31),
        ("--evidence", "sha256:" + "00" * 32),
        ("--evidence", "zz" * 32),
    ],
    ids=str,
)
def test_a_subject_or_hash_that_no_grant_can_have_is_a_usage_error(
    bundle: Path, words: tuple[str, ...]
) -> None:
    """Rather than nothing found, which reads as 'no build of this subject asked'."""
    assert type(find(bundle, *words).exception).__name__ == "BadParameter"


def test_events_have_no_tokens(bundle: Path) -> None:
    """A search for events by the hash of a token is a usage error."""
    result = find(bundle, "--event", "any", "--evidence", HASH.hex())
    assert type(result.exception).__name__ == "UsageError"


def test_no_entry_names_a_subject_or_its_token(bundle: Path) -> None:
    """They are in the items; of the entries, only an operator's order against a subject names it."""
    token = sealed_grant()
    (entries,) = bundle.glob("*/tile/entries/*")
    data = entries.read_bytes() if entries.is_file() else b"".join(e.read_bytes() for e in entries.iterdir())
    assert data.count(SUBJECT.encode()) == 1
    assert b"repo:acme/other" not in data
    assert b"e" * 32 not in data
    assert HASH not in data
    assert token not in data
