"""Replacing a file durably: the old file or the new one, and its mode, owner and link stay."""

import os
import stat
import time
from pathlib import Path
from typing import BinaryIO

import pytest

from queueing.files.durable_file import (
    copy_durably,
    create_durably,
    make_folder,
    remove_durably,
    replace_all_durably,
    replace_durably,
    rewrite,
)
from tests.support.disk.calls import DiskCalls
from tests.support.disk.full import no_space


def mode_of(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


def test_a_new_file_has_the_mode_that_was_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "seal.json"
    replace_durably(file, b"new", mode=0o640)
    assert file.read_bytes() == b"new"
    assert mode_of(file) == 0o640


def test_an_existing_file_keeps_its_mode(tmp_path: Path) -> None:
    file = tmp_path / "tenant.toml"
    file.write_bytes(b"old")
    file.chmod(0o604)
    replace_durably(file, b"new")
    assert file.read_bytes() == b"new"
    assert mode_of(file) == 0o604


def test_a_symbolic_link_stays_and_its_target_is_replaced(tmp_path: Path) -> None:
    """A link into a checkout is not replaced by a file; the file behind it is."""
    target = tmp_path / "checkout" / "acme.toml"
    target.parent.mkdir()
    target.write_bytes(b"old")
    link = tmp_path / "acme.toml"
    link.symlink_to(target)
    replace_durably(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> DiskCalls:
    calls = DiskCalls()
    calls.record(monkeypatch)
    return calls


def test_data_is_synced_before_the_rename_and_the_folder_after_it(tmp_path: Path, disk: DiskCalls) -> None:
    """The order of the system calls is what makes the replacement durable."""
    replace_durably(tmp_path / "file", b"data")
    disk.assert_replaced(tmp_path / "file")
    assert [call.name for call in disk.made if call.name != "create"] == ["fsync", "rename", "fsync"]


@pytest.mark.parametrize("count, data_syncs", [(64, 64), (65, 0)])
def test_many_files_are_replaced_with_one_sync_of_their_folder(
    tmp_path: Path, disk: DiskCalls, count: int, data_syncs: int
) -> None:
    """Up to 64 files have an fsync each; above, one sync(2) comes before the first rename."""
    files = [tmp_path / str(number) for number in range(count)]
    assert replace_all_durably({file: file.name.encode() for file in files}) == {}
    assert [file.read_bytes() for file in files] == [file.name.encode() for file in files]
    for file in files:
        disk.assert_replaced(file)
    assert sum(call.name == "fsync" for call in disk.made) == data_syncs + 1


def test_a_file_that_cannot_be_replaced_is_returned_with_its_error(tmp_path: Path) -> None:
    """One file fails, the others are replaced, and no draft is left."""
    (tmp_path / "folder").mkdir()
    missing = tmp_path / "missing" / "file"
    failed = replace_all_durably({tmp_path / "folder": b"new", missing: b"new", tmp_path / "file": b"new"})
    assert {file: type(error) for file, error in failed.items()} == {
        tmp_path / "folder": IsADirectoryError,
        missing: FileNotFoundError,
    }
    assert {file.name for file in tmp_path.iterdir()} == {"folder", "file"}


def test_a_copy_has_content_and_mode_of_its_source(tmp_path: Path, disk: DiskCalls) -> None:
    """The copy is durable, too."""
    source = tmp_path / "000000000001.wal"
    source.write_bytes(b"records")
    source.chmod(0o440)
    copy_durably(source, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"records"
    assert mode_of(tmp_path / "copy") == 0o440
    disk.assert_replaced(tmp_path / "copy")


def test_a_file_is_created_once(tmp_path: Path, disk: DiskCalls) -> None:
    """The second creation reports that the file existed; both leave its name on the disk."""
    assert create_durably(tmp_path / "acme")
    disk.assert_created(tmp_path / "acme")
    disk.made.clear()
    assert not create_durably(tmp_path / "acme")
    assert [(call.name, call.path) for call in disk.made] == [("fsync", tmp_path)]


def test_the_names_of_new_folders_are_durable(tmp_path: Path, disk: DiskCalls) -> None:
    """Each missing parent is made and its name synced; only the last folder gets the mode of the call."""
    make_folder(tmp_path / "state" / "orders", mode=0o700)
    disk.assert_folders_durable()
    assert sum(call.name == "mkdir" for call in disk.made) == 2
    assert mode_of(tmp_path / "state" / "orders") == 0o700
    disk.made.clear()
    make_folder(tmp_path / "state" / "orders")
    assert disk.made == []


def test_a_file_in_place_of_a_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    with pytest.raises(FileExistsError):
        make_folder(tmp_path / "state")


def test_drafts_of_crashed_writers_are_removed_after_an_hour(tmp_path: Path) -> None:
    """A young draft may be another process's; drafts of other files belong to the writers of those."""
    for name, age_s in (
        (".file.aaaaaaaa.new", 4000),
        (".file.bbbbbbbb.new", 10),
        (".other.cccccccc.new", 4000),
    ):
        (tmp_path / name).touch()
        then = time.time() - age_s
        os.utime(tmp_path / name, (then, then))
    replace_durably(tmp_path / "file", b"new")
    left = {file.name for file in tmp_path.iterdir()}
    assert left == {"file", ".file.bbbbbbbb.new", ".other.cccccccc.new"}


def test_a_failed_write_leaves_the_old_file_and_no_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk costs nothing but the new version."""
    file = tmp_path / "file"
    file.write_bytes(b"old")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OSError, match="No space"):
        replace_durably(file, b"new")
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_removal_syncs_the_folder_and_a_missing_file_is_no_error(tmp_path: Path, disk: DiskCalls) -> None:
    """The second removal reports that there was no file."""
    file = tmp_path / "file"
    file.write_bytes(b"old")
    assert remove_durably(file)
    disk.assert_removed(file)
    assert not remove_durably(file)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int]]:
    """Names, owners and groups that root gave away: this process is taken for root."""
    calls: list[tuple[str, int, int]] = []

    def fchown(descriptor: int, uid: int, gid: int) -> None:
        calls.append((Path(f"/proc/self/fd/{descriptor}").readlink().name, uid, gid))

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "fchown", fchown)
    return calls


def test_files_that_root_makes_belong_to_the_owner_of_the_folder(
    tmp_path: Path, given: list[tuple[str, int, int]]
) -> None:
    """A folder, an empty file and a new file of root are given to the user and group of the folder they are in."""
    owner = tmp_path.stat().st_uid, tmp_path.stat().st_gid
    make_folder(tmp_path / "one" / "two")
    create_durably(tmp_path / "mark")
    replace_durably(tmp_path / "new", b"new")
    names = [name for name, *_ in given]
    assert names[:3] == ["one", "two", "mark"]
    assert names[3].startswith(".new.")  # before it is renamed
    assert {tuple(rest) for _, *rest in given} == {owner}


def test_a_folder_that_exists_keeps_its_owner(tmp_path: Path, given: list[tuple[str, int, int]]) -> None:
    make_folder(tmp_path)
    assert given == []


def test_an_error_of_the_writer_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    """Its part is gone, and its error is raised as it is."""
    file = tmp_path / "app.exe"
    file.write_bytes(b"old")

    def write(stream: BinaryIO) -> None:
        stream.write(b"half")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        rewrite(file, write, mode=0o600)
    assert [x.read_bytes() for x in tmp_path.iterdir()] == [b"old"]
    rewrite(file, lambda stream: stream.write(b"new"), mode=0o600)
    assert [x.read_bytes() for x in tmp_path.iterdir()] == [b"new"]


def test_a_pipe_a_device_or_a_folder_is_never_replaced(tmp_path: Path) -> None:
    """Root that names /dev/null as the place of a file would take it from every program of the host.

    A pipe stands for it here: the test of a wrong change would take it from this host.
    """
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("pipe")
    for name in ("pipe", "folder", "link"):
        with pytest.raises(OSError, match=r"not a regular file|Is a directory"):
            replace_durably(tmp_path / name, b"new")
        assert list(replace_all_durably({tmp_path / name: b"new"})) == [tmp_path / name]

    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["folder", "link", "pipe"]


def test_other_names_of_a_file_keep_the_old_content(tmp_path: Path) -> None:
    """A store of files that are shared by hard links is never written to."""
    file, other = tmp_path / "app.exe", tmp_path / "store"
    file.write_bytes(b"old")
    other.hardlink_to(file)
    rewrite(file, lambda stream: stream.write(b"new"), mode=0o600)
    assert (file.read_bytes(), other.read_bytes()) == (b"new", b"old")


def test_a_writer_that_may_not_give_files_away_keeps_their_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Among the groups that it is in."""
    file, asked = tmp_path / "app.exe", []
    file.write_bytes(b"old")

    def fchown(_: int, user: int, group: int) -> None:
        asked.append((user, group))
        if user != -1:
            raise PermissionError

    monkeypatch.setattr(os, "fchown", fchown)
    replace_durably(file, b"new")
    facts = file.stat()
    assert asked == [(facts.st_uid, facts.st_gid), (-1, facts.st_gid)]
