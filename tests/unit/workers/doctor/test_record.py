"""Check of the record: what its sealer's status and its folders say becomes findings."""

from __future__ import annotations

import dataclasses
import errno
import os
from pathlib import Path

import pytest

from tests.support.fakes.configurations import configuration
from workers.config.settings import RecordSettings
from workers.doctor import record as module
from workers.doctor.findings import Finding, State
from workers.doctor.record import MOST_LAG_S, check_record
from workers.record.exchange import SEALER_FOLDER, SealerStatus, write_status
from workers.record.retention.policy import adopt_policy

DAY_MS = 86_400_000
LAG_NS = int(MOST_LAG_S * 1e9)


def findings(
    state_dir: Path, status: SealerStatus | None, *, now_ns: int = 2, now_s: float = 0.0, enabled: bool = True
) -> dict[str, Finding]:
    """Findings by their checks, of which each is there once."""
    (state_dir / "record").mkdir(exist_ok=True)
    if status is not None:
        write_status(state_dir, status)
    service = configuration(state_dir=state_dir).service
    service = dataclasses.replace(service, record=RecordSettings(enabled=enabled))
    found = check_record(service, now_ns=now_ns, now_s=now_s)
    assert len({finding.check for finding in found}) == len(found)
    return {finding.check: finding for finding in found}


def sealed(covered_ns: int | None = 1, *, uncertified: int = 0, oldest_ms: int = 0) -> SealerStatus:
    return SealerStatus(
        pid=1,
        started_ns=1,
        covered_ns=covered_ns,
        uncertified=uncertified,
        oldest_ms=oldest_ms,
        record_bytes=2_500_000_000,
    )


def test_a_host_without_a_record_has_nothing_to_check(tmp_path: Path) -> None:
    (tmp_path / "record.0123456789abcdef-00000000").mkdir()
    assert findings(tmp_path, sealed(), enabled=False) == {}


@pytest.mark.parametrize("status", [None, b"", b"\xc1", b"\x80", b"\x81\xa3pid\xa1x"])
def test_a_record_whose_sealer_has_told_nothing_yet_is_noted(tmp_path: Path, status: bytes | None) -> None:
    """Also where the status cannot be read: nothing else is claimed then."""
    if status is not None:
        (tmp_path / SEALER_FOLDER).mkdir()
        (tmp_path / SEALER_FOLDER / "status").write_bytes(status)
    found = findings(tmp_path, None)
    assert list(found) == ["record"]
    assert found["record"].state is State.WARNING
    assert "no sealer has run yet" in found["record"].text


@pytest.mark.parametrize(
    "covered_ns, now_ns, state, what",
    [
        (1, 1 + LAG_NS, State.OK, "sealed 30 s ago, 3 logs wait for the service key"),
        (1, 2 + LAG_NS, State.FAIL, "nothing was sealed for 30 s"),
        (None, 2 + LAG_NS, State.FAIL, "nothing was sealed for 30 s"),
        (10 * LAG_NS, 1, State.OK, "sealed 0 s ago, 3 logs wait for the service key"),
    ],
)
def test_a_sealer_that_does_not_keep_up_is_to_be_mended(
    tmp_path: Path, covered_ns: int | None, now_ns: int, state: State, what: str
) -> None:
    """Beyond what the alert bounds, also where it never came so far; a status of a former boot is in the future."""
    finding = findings(tmp_path, sealed(covered_ns, uncertified=3), now_ns=now_ns)["record"]
    assert (finding.state, finding.text) == (state, what)
    assert bool(finding.fix) == (state is State.FAIL)


@pytest.mark.parametrize("places", [1, 3, 4, 5])
def test_damaged_places_are_named_and_many_are_counted(tmp_path: Path, places: int) -> None:
    """With the page that says what to do; a sound record has no such line."""
    damage = tuple(f"acme/items/000000.bin: entry {number}" for number in range(places))
    finding = findings(tmp_path, damaged_at(damage))["record.damage"]
    assert finding.state is State.FAIL
    assert finding.fix == "ops/runbooks/SigmillRecordDamaged.md"
    assert Path(__file__).parents[4].joinpath(finding.fix).is_file()
    named = ", ".join(damage[:3])
    assert finding.text == f"is damaged: {named}" + (f" and {places - 3} more places" if places > 3 else "")
    assert "record.damage" not in findings(tmp_path, sealed())


def damaged_at(damage: tuple[str, ...]) -> SealerStatus:
    return SealerStatus(pid=1, started_ns=1, covered_ns=1, damage=damage)


def test_a_record_that_was_given_up_is_named_until_its_folder_goes(tmp_path: Path) -> None:
    """Whether a sealer runs or not; one that is being made is none."""
    former = tmp_path / "record.0123456789abcdef-00000000"
    former.mkdir()
    (tmp_path / "record.new").mkdir()
    for status in (None, sealed()):
        finding = findings(tmp_path, status)["record.former"]
        assert (finding.state, finding.subject) == (State.FAIL, str(former))
        assert Path(__file__).parents[4].joinpath(finding.fix).is_file()
    former.rmdir()
    assert "record.former" not in findings(tmp_path, sealed())


def test_a_state_directory_that_cannot_be_listed_is_not_taken_for_a_sound_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_: object) -> list[Path]:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(module, "former_records", refused)
    found = findings(tmp_path, sealed())
    assert list(found) == ["record"]
    assert found["record"].state is State.SKIPPED
    assert "Permission denied" in found["record"].text


def test_a_record_without_entries_has_no_oldest_one(tmp_path: Path) -> None:
    finding = findings(tmp_path, sealed())["record.retention"]
    assert (finding.state, finding.text) == (State.OK, "no entries yet; they are kept for 762 days")


@pytest.mark.parametrize(
    "age_days, late",
    [(100, False), (762 + 31, False), (762 + 32, True)],
)
def test_the_oldest_entry_is_told_and_why_it_may_be_older_than_entries_are_kept(
    tmp_path: Path, age_days: int, late: bool
) -> None:
    adopt_policy(tmp_path / SEALER_FOLDER, 762.0, {})
    status = sealed(oldest_ms=5 * DAY_MS)
    finding = findings(tmp_path, status, now_s=(5 + age_days) * 86400.0)["record.retention"]
    assert finding.state is State.OK
    start = f"2.5 GB, the oldest entry is {age_days} days old; entries are kept for 762 days"
    assert finding.text.startswith(start)
    assert (finding.text != start) == late


@pytest.mark.parametrize("known", [None, 800.0, "damaged"])
def test_a_sealer_that_does_not_know_the_retention_of_the_file_is_noted(
    tmp_path: Path, known: float | str | None
) -> None:
    """Nothing was adopted, another number was, or the file is damaged."""
    if known is not None:
        adopt_policy(tmp_path / SEALER_FOLDER, 800.0, {})
    if known == "damaged":
        file = tmp_path / SEALER_FOLDER / "retention"
        file.write_bytes(file.read_bytes()[:-1])
    finding = findings(tmp_path, sealed(oldest_ms=1))["record.retention"]
    assert finding.state is State.WARNING
    assert "does not know yet that entries are kept for 762 days" in finding.text


def test_a_retention_that_cannot_be_read_is_not_taken_for_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(module, "read_policy", refused)
    finding = findings(tmp_path, sealed(oldest_ms=1))["record.retention"]
    assert finding.state is State.SKIPPED
    assert "Permission denied" in finding.text
