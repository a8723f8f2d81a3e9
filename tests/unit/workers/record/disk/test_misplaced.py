"""Pipes, folders and the like in the place of a file of the record: they cost nothing that is sealed, and stop no tenant."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from queueing.transparency.merkle import HASH_BYTES
from tests.support.disk.irregular import PUT, put_folder, put_huge, put_pipe
from tests.support.farm.logged_jobs import append, job
from tests.support.farm.sealed_logs import sealer
from tests.unit.workers.record.test_sealing import checkpoint, seal
from workers.journal.segment_writer import SegmentWriter
from workers.record import published
from workers.record.disk.misplaced import make_way, replace_by_rename
from workers.record.exchange import SEALER_FOLDER, read_status
from workers.record.folder import log_folder
from workers.record.published import published_heads
from workers.record.receipts.outbox import ReceiptOutbox, SealedReceipt
from workers.record.replacement import former_records
from workers.record.volumes import VOLUME, Position, RecordDamaged, TenantLog

pytestmark = pytest.mark.timeout(30)

Put = Callable[[Path], None]


def put_note(place: Path) -> None:
    place.write_text("moved to the other disk")


def put_link_to_nothing(place: Path) -> None:
    place.symlink_to("/nowhere")


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    """A sealed record of two tenants, and jobs of three that are not sealed yet."""
    folder = tmp_path / "state"
    writer = SegmentWriter(folder / "wal")
    append(writer, *job("acme", 1), *job("globex", 2))
    seal(folder)
    append(writer, *job("acme", 3), *job("globex", 4), *job("initech", 5))
    return folder


@pytest.fixture
def sealed_cleanly(state_dir: Path, tmp_path: Path) -> Path:
    """The same, sealed to its end by a sealer that met nothing."""
    clean = tmp_path / "clean"
    shutil.copytree(state_dir, clean)
    seal(clean)
    return clean


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """Name of each place that was made free, and the new name of what was there."""
    found = [record.__dict__ for record in caplog.records if record.msg == "record.misplaced"]
    return [(Path(each["file"]).name, each["kept_as"]) for each in found]


@pytest.mark.parametrize(
    "place, put, kept",
    [
        ("acme/checkpoint", put_pipe, False),
        ("acme/checkpoint", put_folder, True),
        ("acme/checkpoint", put_huge, True),
        ("acme/checkpoint.new", put_folder, True),
        ("acme/entries/000001.bin", put_folder, True),
        ("acme/level1.bin", put_folder, True),
        ("acme/level2.bin", put_link_to_nothing, True),
        ("initech", put_pipe, False),
        ("initech", put_note, True),
        ("initech", put_link_to_nothing, True),
    ],
)
def test_no_tenant_waits_until_it_is_removed(
    state_dir: Path, sealed_cleanly: Path, caplog: pytest.LogCaptureFixture, place: str, put: Put, kept: bool
) -> None:
    """All logs are sealed to their end by the sealer that meets it, with the roots that they would have had; it is named once."""
    path = log_folder(state_dir, place)
    path.unlink(missing_ok=True)
    put(path)
    caplog.clear()
    seal(state_dir)
    for tenant in ("acme", "globex", "initech"):
        assert checkpoint(state_dir, tenant) == checkpoint(sealed_cleanly, tenant)
    assert told(caplog) == [(path.name, f"{path.name}~misplaced-1" if kept else "")]
    assert former_records(state_dir) == []


@pytest.mark.parametrize("kind", ["entries", "items", "level0"])
def test_a_folder_of_volumes_that_is_none_is_made_where_nothing_of_it_was_durable(
    state_dir: Path, sealed_cleanly: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    """As a tenant's log begins; another tenant's is sealed on."""
    log_folder(state_dir, "initech").mkdir()
    put_note(log_folder(state_dir, "initech") / kind)
    seal(state_dir)
    assert checkpoint(state_dir, "initech") == checkpoint(sealed_cleanly, "initech")
    assert told(caplog) == [(kind, f"{kind}~misplaced-1")]


def no_level0(log: Path) -> None:
    (log / "entries").mkdir(parents=True)


def entries_in_a_file(log: Path) -> None:
    (log / "level0").mkdir(parents=True)
    put_note(log / "entries")


def items_on_a_disk_that_is_not_mounted(log: Path) -> None:
    for name in ("level0", "entries"):
        (log / name).mkdir(parents=True)
    put_link_to_nothing(log / "items")


@pytest.mark.parametrize(
    "put", [put_link_to_nothing, no_level0, entries_in_a_file, items_on_a_disk_that_is_not_mounted]
)
def test_what_is_in_the_place_of_full_volumes_is_damage_and_stays(tmp_path: Path, put: Put) -> None:
    """Also where the log ends with a volume, of whose files nothing is cut: a new log in their place would begin in its middle."""
    log = tmp_path / "acme"
    put(log)
    before = sorted(tmp_path.rglob("*"))
    end = Position(size=VOLUME, subtrees=[bytes(HASH_BYTES)], entry_bytes=9, item_bytes=0)
    with pytest.raises(RecordDamaged, match=r"acme/\w+ is (missing|not a folder)"):
        TenantLog(log, end).cut()
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_in_the_place_of_synced_bytes_is_damage_and_stays(tmp_path: Path) -> None:
    """Its own size says nothing of them."""
    folder = tmp_path / "level0" / "000000.bin"
    folder.mkdir(parents=True)
    end = Position(size=1, subtrees=[bytes(HASH_BYTES)], entry_bytes=9, item_bytes=0)
    with pytest.raises(RecordDamaged, match="32 were synced"):
        TenantLog(tmp_path, end).cut()
    assert folder.is_dir()


def test_a_checkpoint_that_the_disk_does_not_give_stays(
    state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the sealer nor the worker goes on without it: it says how long the log was."""

    def broken(*_: object, **__: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    before = checkpoint(state_dir)
    with monkeypatch.context() as patched:
        patched.setattr(published, "read_regular", broken)
        for read in (sealer, lambda folder: published_heads(folder / "record")):
            with pytest.raises(OSError, match="Input/output error"):
                read(state_dir)
    assert checkpoint(state_dir) == before


@pytest.mark.parametrize("put", PUT.values(), ids=PUT.keys())
def test_heads_of_other_tenants_are_read_beside_a_checkpoint_that_is_none(state_dir: Path, put: Put) -> None:
    """The worker publishes them meanwhile."""
    (log_folder(state_dir, "acme") / "checkpoint").unlink()
    put(log_folder(state_dir, "acme") / "checkpoint")
    assert published_heads(state_dir / "record").keys() == {"globex"}


def test_folders_among_the_sealers_own_files_stop_no_sealing(state_dir: Path, sealed_cleanly: Path) -> None:
    """In the place of its status, of a draft, and of a request for a certificate."""
    sealer = state_dir / SEALER_FOLDER
    (sealer / "status").unlink()
    for name in ("status", "new", "requests/new", "requests/acme+0123456789abcdef"):
        (sealer / name).mkdir(parents=True)
    seal(state_dir)
    assert checkpoint(state_dir) == checkpoint(sealed_cleanly)
    assert read_status(state_dir) is not None


def test_a_pipe_in_the_place_of_a_draft_of_receipts_is_not_waited_for(tmp_path: Path) -> None:
    """The sealer writes them between two checkpoints of all tenants."""
    (tmp_path / SEALER_FOLDER / "receipts").mkdir(parents=True)
    put_pipe(tmp_path / SEALER_FOLDER / "receipts" / "new")
    outbox = ReceiptOutbox(tmp_path)
    outbox.put("acme", [SealedReceipt(job_id="job", at_ms=1, released=True, proof=b"")])
    assert [file.tenant for file in outbox.files()] == ["acme"]


def test_nothing_is_overwritten_by_what_is_put_out_of_the_way(tmp_path: Path) -> None:
    """Each gets a name of its own; a name with nothing is no error."""
    make_way(tmp_path / "file")
    make_way(tmp_path / "no-folder" / "file")
    for content in ("one", "two"):
        (tmp_path / "file").write_text(content)
        make_way(tmp_path / "file")
    found = {file.name: file.read_text() for file in tmp_path.iterdir()}
    assert found == {"file~misplaced-1": "one", "file~misplaced-2": "two"}


def test_a_file_is_replaced_whatever_is_in_its_place(tmp_path: Path) -> None:
    """A folder keeps its content, under another name."""
    (tmp_path / "file").mkdir()
    (tmp_path / "file" / "content").touch()
    os.mkfifo(tmp_path / "draft")
    replace_by_rename(tmp_path / "file", b"data", draft="draft")
    assert (tmp_path / "file").read_bytes() == b"data"
    assert (tmp_path / "file~misplaced-1" / "content").exists()
    assert not (tmp_path / "draft").exists()
