"""Pipes, folders and the like in the place of a file of the record: they cost nothing that is sealed, and stop no tenant."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.disk.irregular import PUT, put_folder, put_huge, put_pipe
from tests.support.farm.logged_jobs import append, job
from tests.unit.workers.record.test_sealing import checkpoint, seal
from workers.journal.segment_writer import SegmentWriter
from workers.record.disk.misplaced import make_way, replace_by_rename
from workers.record.exchange import SEALER_FOLDER, read_status
from workers.record.folder import log_folder
from workers.record.published import published_heads
from workers.record.receipts.outbox import ReceiptOutbox, SealedReceipt
from workers.record.replacement import former_records

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
