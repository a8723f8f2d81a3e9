"""Names in a bundle that nothing reads, and bytes of items that nothing reads: each is told, as nothing vouches for it."""

from __future__ import annotations

import os
import shutil
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from queueing.errors import ProofInvalid
from queueing.transparency.notes import Ed25519NoteKey
from tests.support.disk.nested_folders import nested_folders
from tests.support.farm.forged_logs import ORIGIN, intent_of, outcome_of, row_of, write_log
from tests.support.farm.sealed_logs import EPOCH_KEY
from workers.cli.audit.verified_lines import OriginLine
from workers.cli.audit.verify import _limits
from workers.record.bundle import others, reader
from workers.record.bundle.findings import Verified
from workers.record.bundle.others import MOST_OTHERS, MOST_UNREAD, Names, others_in, unread_files
from workers.record.bundle.reader import origins_of
from workers.record.bundle.verification import OriginVerifier
from workers.record.bundle.writer import export
from workers.record.volumes import ROW_LENGTH

NAMES = [
    "items/009",
    "items/000.p/3",
    "items/x000/000",
    "items/note",
    "items/x001/note",
    "tile/entries/001",
    "tile/0/000.p/2",
    "tile/0/001",
    "tile/1/000",
    "tile/9/000",
    "tile/note",
    "tile/entries/000.p/003",
]


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """Folder of the origin in a bundle of a log with three entries."""
    write_log(tmp_path / "log", [(intent_of(), None), (outcome_of(1), row_of(2))])
    export(tmp_path / "log", tmp_path / "bundle")
    (origin,) = tmp_path.glob("bundle/*/tile")
    return origin.parent


def verified(origin: Path) -> Verified:
    (found,) = origins_of(origin.parent)
    verifier = OriginVerifier(found, trusted=[Ed25519NoteKey(ORIGIN, EPOCH_KEY).verifier])
    assert list(verifier.run()) == []
    return verifier.verified


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_is_no_part_of_the_log_is_told(bundle: Path, name: str) -> None:
    """It holds, and says nothing of this file."""
    assert verified(bundle).unread == Names()
    file = bundle / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"hidden")
    assert verified(bundle).unread == Names((name,), 1)


def test_a_link_beside_the_items_is_told_and_not_followed(bundle: Path) -> None:
    (bundle / "items" / "008").symlink_to(bundle / "tile")
    assert verified(bundle).unread == Names(("items/008",), 1)


@pytest.mark.parametrize("folder", ["items", "tile/entries"])
def test_folders_in_folders_are_told_by_their_top(bundle: Path, folder: str) -> None:
    """Down to the depth of our own files."""
    name = "/".join([folder, *["d"] * (9 - folder.count("/"))])
    with nested_folders(bundle / folder):
        assert verified(bundle).unread == Names((name,), 1)


def test_of_many_files_the_first_are_named_and_all_are_counted(bundle: Path) -> None:
    names = [f"items/x{number:03d}" for number in range(MOST_UNREAD + 5)]
    for name in reversed(names):
        (bundle / name).touch()
    assert verified(bundle).unread == Names(tuple(names[:MOST_UNREAD]), MOST_UNREAD + 5)


def test_of_many_names_beside_ours_the_first_are_named_and_all_are_counted(bundle: Path) -> None:
    """In the bundle, and in the folder of an origin."""
    assert others_in(bundle.parent) == Names()
    for number in range(MOST_OTHERS):
        (bundle.parent / f"junk {number:03d}").touch()
        (bundle / f"junk {number:03d}").touch()
    names = others_in(bundle.parent)
    assert names.count == 2 * MOST_OTHERS
    assert names.first == tuple(f"{bundle.name}/junk {number:03d}" for number in range(MOST_OTHERS))


def test_names_beside_ours_are_not_kept_in_memory(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They come one by one from the disk; 20,000 of them would take more than a megabyte."""

    def many(folder: Path) -> Iterator[SimpleNamespace]:
        return (SimpleNamespace(name=f"junk {number}") for number in range(20_000))

    monkeypatch.setattr(others, "each_entry", many)
    monkeypatch.setattr(reader, "each_entry", many)
    tracemalloc.start()
    try:
        assert others_in(bundle.parent).count == 20_000
        with pytest.raises(ProofInvalid, match="no folder of an origin"):
            origins_of(bundle.parent)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 250_000


def test_a_bundle_of_too_many_origins_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And none is left out without a word."""
    monkeypatch.setattr(reader, "MOST_ORIGINS", 3)
    for number in range(3):
        (tmp_path / f"{number:016x}").mkdir()
    assert [origin.name for origin in origins_of(tmp_path)] == [f"{number:016x}" for number in range(3)]
    (tmp_path / f"{3:016x}").mkdir()
    with pytest.raises(ProofInvalid, match="more than 3 folders of origins"):
        origins_of(tmp_path)


def replace_by_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_bytes(b"")


def replace_by_pipe(folder: Path) -> None:
    shutil.rmtree(folder)
    os.mkfifo(folder)


def replace_by_link(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.symlink_to("nowhere")


@pytest.mark.parametrize("replace", [replace_by_file, replace_by_pipe, replace_by_link])
def test_items_that_are_no_folder_are_told_as_such(bundle: Path, replace: Callable[[Path], None]) -> None:
    """Beside the outcomes whose items are missing."""
    replace(bundle / "items")
    (origin,) = origins_of(bundle.parent)
    verifier = OriginVerifier(origin, trusted=[Ed25519NoteKey(ORIGIN, EPOCH_KEY).verifier])
    assert [(problem.code, problem.what) for problem in verifier.run()] == [
        ("items.invalid", f"{bundle.name}/items is no folder"),
        ("entry.invalid", "the items of its 2 digests are missing"),
    ]


@pytest.mark.parametrize("entries", [255, 256, 257, 512, 700])
@pytest.mark.parametrize("from_ms", [0, 2])
def test_everything_that_an_export_writes_is_read(tmp_path: Path, entries: int, from_ms: int) -> None:
    """Of logs that end within, at and behind a tile, and of ranges of them."""
    later = msgspec.structs.replace(intent_of(), at_ms=2)
    log = [(intent_of() if number < 300 else later, None) for number in range(entries)]
    write_log(tmp_path / "log", log)
    made = export(tmp_path / "log", tmp_path / "bundle", from_ms=from_ms)
    (origin,) = origins_of(tmp_path / "bundle")
    folder = tmp_path / "bundle" / origin.name
    assert unread_files(folder, made.checkpoint.size, made.first, made.end) == Names()


def test_what_is_no_part_of_another_size_or_range_is_told(tmp_path: Path) -> None:
    """An export of a former version left such files, where a longer log was exported into the same folder."""
    write_log(tmp_path / "log", [(intent_of(), None)] * 10)
    export(tmp_path / "log", tmp_path / "bundle")
    (origin,) = origins_of(tmp_path / "bundle")
    assert origin.unread(21, 0, 21) == Names(("tile/0/000.p/11", "tile/entries/000.p/11"), 2)


def test_a_field_that_was_added_to_an_item_row_is_told(bundle: Path) -> None:
    """A later version may write one; this one does not verify it."""
    file = bundle / "items" / "000"
    row = msgspec.msgpack.decode(file.read_bytes()[ROW_LENGTH.size :])
    data = msgspec.msgpack.encode([*row, b"hidden"])
    file.write_bytes(ROW_LENGTH.pack(len(data)) + data)
    assert verified(bundle).rows_with_more == 1


def test_an_export_tells_a_field_that_was_added_to_an_item_row(bundle: Path) -> None:
    """The bundle has what this version reads."""
    log = bundle.parent.parent / "log"
    file = log / "items" / "000000.bin"
    row = msgspec.msgpack.decode(file.read_bytes()[ROW_LENGTH.size :])
    data = msgspec.msgpack.encode([*row, "hidden"])
    file.write_bytes(ROW_LENGTH.pack(len(data)) + data)
    assert export(log, bundle.parent).rows_with_more == 1
    assert verified(bundle).rows_with_more == 0


def test_people_read_both_as_sentences() -> None:
    line = OriginLine(
        origin="o",
        entries=3,
        signatures=1,
        client_signatures=0,
        problems=0,
        unread=4,
        unread_files=("items/009", "items/010", "tile/a", "tile/b"),
        rows_with_more=1,
    )
    rows, files = _limits(line)
    assert rows.startswith("warning: 1 item row has more than this version reads")
    assert files.startswith("warning: 4 files in its folder are no part of this log and range")
    assert files.endswith("not verified: items/009, items/010, tile/a, …")
