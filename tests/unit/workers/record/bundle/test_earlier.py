"""An export into the folder of an earlier one: nothing of another range is given away with it, and nothing is lost."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import msgspec
import pytest

from queueing.errors import ProofInvalid
from queueing.transparency.entries import Entry
from queueing.transparency.notes import Ed25519NoteKey
from tests.support.farm.forged_logs import ORIGIN, intent_of, outcome_of, row_of, write_log
from tests.support.farm.sealed_logs import EPOCH_KEY
from workers.record.bundle.earlier import OtherEntries
from workers.record.bundle.others import Names, place_of
from workers.record.bundle.reader import origins_of
from workers.record.bundle.verification import OriginVerifier
from workers.record.bundle.writer import export
from workers.record.items import ItemRow


def log_of(folder: Path, jobs: int) -> Path:
    """Log with an intent and an outcome of each job, at the time of its number, behind the first entry."""
    log: list[tuple[Entry, ItemRow | None]] = []
    for number in range(1, jobs + 1):
        intent = msgspec.structs.replace(intent_of(), at_ms=number)
        outcome = msgspec.structs.replace(outcome_of(2 * number - 1), at_ms=number)
        log += [(intent, None), (outcome, row_of(2 * number))]
    write_log(folder, log)
    return folder


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Log of 201 entries."""
    return log_of(tmp_path_factory.mktemp("short"), 100)


@pytest.fixture(scope="module")
def middle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same log with 401 entries."""
    return log_of(tmp_path_factory.mktemp("middle"), 200)


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same log with 601 entries."""
    return log_of(tmp_path_factory.mktemp("long"), 300)


def content(bundle: Path) -> dict[str, bytes]:
    return {str(file.relative_to(bundle)): file.read_bytes() for file in bundle.rglob("*") if file.is_file()}


def unread(bundle: Path) -> Names:
    """Names in the log of the bundle that its verification, which holds, does not read."""
    (found,) = origins_of(bundle)
    verifier = OriginVerifier(found, trusted=[Ed25519NoteKey(ORIGIN, EPOCH_KEY).verifier])
    assert list(verifier.run()) == []
    return verifier.verified.unread


@pytest.mark.parametrize("killed", [False, True])
def test_an_export_of_a_log_that_has_grown_is_as_one_into_a_new_folder(
    tmp_path: Path, short: Path, long: Path, killed: bool
) -> None:
    """Also where the earlier one was killed before its end."""
    export(short, tmp_path / "bundle")
    for name in ("range", "checkpoint") if killed else ():
        next((tmp_path / "bundle").glob(f"*/{name}")).unlink()
    export(long, tmp_path / "bundle")
    export(long, tmp_path / "new")
    assert content(tmp_path / "bundle") == content(tmp_path / "new")
    assert unread(tmp_path / "bundle") == Names()
    assert not [each for each in (tmp_path / "bundle").rglob("*") if each.is_dir() and not [*each.iterdir()]]


def test_the_same_range_of_a_log_that_has_grown_replaces_hashes_that_are_in_neither_range(
    tmp_path: Path, middle: Path, long: Path
) -> None:
    """The right edge of the tree, which was behind the range."""
    export(middle, tmp_path / "bundle", to_ms=90)
    export(long, tmp_path / "bundle", to_ms=90)
    export(long, tmp_path / "new", to_ms=90)
    assert content(tmp_path / "bundle") == content(tmp_path / "new")


def test_an_export_that_fails_removes_nothing_of_the_earlier_one(
    tmp_path: Path, short: Path, long: Path
) -> None:
    """Its checkpoint and all entries and hashes of its tree are there."""
    export(short, tmp_path / "bundle")
    before = content(tmp_path / "bundle")
    shutil.copytree(long, tmp_path / "torn")
    entries = tmp_path / "torn" / "entries" / "000000.bin"
    os.truncate(entries, entries.stat().st_size - 1)
    with pytest.raises(ProofInvalid, match="damaged or cut"):
        export(tmp_path / "torn", tmp_path / "bundle")
    left = content(tmp_path / "bundle")
    assert {name: left[name] for name in before if name in left} == before


def test_a_wider_range_takes_in_the_earlier_one(tmp_path: Path, long: Path) -> None:
    """Nothing of the earlier one is left beside it."""
    export(long, tmp_path / "bundle", from_ms=140, to_ms=200)
    export(long, tmp_path / "bundle")
    export(long, tmp_path / "new")
    assert content(tmp_path / "bundle") == content(tmp_path / "new")


@pytest.mark.parametrize("from_ms, to_ms", [(140, None), (0, 100), (140, 200), (1000, None)])
def test_an_export_without_entries_of_the_earlier_one_is_refused(
    tmp_path: Path, long: Path, from_ms: int, to_ms: int | None
) -> None:
    """The folder would give them away, and to remove them could lose the last copy. Nothing of it is changed."""
    export(long, tmp_path / "bundle")
    before = content(tmp_path / "bundle")
    with pytest.raises(
        OtherEntries, match=r"bundle/0011223344556677 has \d+ files? of an earlier export"
    ) as refused:
        export(long, tmp_path / "bundle", from_ms=from_ms, to_ms=to_ms)
    assert "of 601): items/00" in refused.value.message
    assert content(tmp_path / "bundle") == before


@pytest.mark.parametrize("to_ms", [None, 90])
def test_an_export_of_a_log_that_was_longer_is_refused(
    tmp_path: Path, middle: Path, long: Path, to_ms: int | None
) -> None:
    """The record was set back; the earlier bundle is the proof of that, also where it has no entries of what is lost."""
    export(long, tmp_path / "bundle", to_ms=to_ms)
    before = content(tmp_path / "bundle")
    with pytest.raises(OtherEntries):
        export(middle, tmp_path / "bundle", to_ms=to_ms)
    assert content(tmp_path / "bundle") == before


def test_names_that_no_export_gives_stay_and_are_told(tmp_path: Path, short: Path, long: Path) -> None:
    """A file of the person whose folder it is, and a link, of which the target stays, too."""
    export(short, tmp_path / "bundle")
    (origin,) = (tmp_path / "bundle").glob("*/")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "7").write_bytes(b"theirs")
    (origin / "tile" / "note").write_text("of mine")
    (origin / "tile" / "entries" / "000.p" / "note").write_text("of mine")
    (origin / "tile" / "0" / "007.p").symlink_to(tmp_path / "theirs")
    export(long, tmp_path / "bundle")
    assert unread(tmp_path / "bundle") == Names(("tile/0/007.p", "tile/entries/000.p/note", "tile/note"), 3)
    assert (tmp_path / "theirs" / "7").read_bytes() == b"theirs"


@pytest.mark.parametrize(
    "name, stretch",
    [
        ("items/001", (256, 257, True)),
        ("tile/entries/001.p/3", (256, 259, True)),
        ("tile/entries/x001/000", (256_000, 256_256, True)),
        ("tile/0/001", (256, 512, False)),
        ("tile/1/001.p/2", (65_536, 66_048, False)),
        ("items/x000/001", None),
        ("items/001.p/3", None),
        ("tile/0/001.p/0", None),
        ("tile/0/001.p/256", None),
        ("tile/0/001.p/03", None),
        ("tile/note", None),
    ],
)
def test_the_stretch_of_a_file_is_told_by_its_one_name(
    name: str, stretch: tuple[int, int, bool] | None
) -> None:
    """Another name for the same stretch is none that an export gives."""
    place = place_of(name)
    assert (place and (place.first, place.end, place.has_entries)) == stretch
