"""A file is written whole or stays as it was; what is no regular file is written as it is."""

from __future__ import annotations

import os
import resource
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from queueing.agent.openpgp.output_file import would_be_lost, write_whole

LARGE = b"new content\n" * 10_000


@contextmanager
def room_for(size_bytes: int) -> Iterator[None]:
    """No file can become larger: the write of the rest fails, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    """The error names the output, not the draft."""
    file = tmp_path / "InRelease"
    file.write_bytes(b"old content")
    with room_for(4096), pytest.raises(OSError) as failed:
        write_whole(str(file), LARGE)
    assert failed.value.filename == str(file)
    assert file.read_bytes() == b"old content"
    assert list(tmp_path.iterdir()) == [file]


def test_a_full_disk_leaves_no_part_of_a_new_file(tmp_path: Path) -> None:
    """A program that looks for the output finds none."""
    with room_for(4096), pytest.raises(OSError):
        write_whole(str(tmp_path / "InRelease"), LARGE)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_keeps_its_mode_and_a_link_stays_one(tmp_path: Path) -> None:
    """Its content is the new one."""
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_bytes(b"old")
    file.chmod(0o604)
    link.symlink_to("file")
    write_whole(str(link), b"new")
    assert link.is_symlink()
    assert file.read_bytes() == b"new"
    assert stat.S_IMODE(file.stat().st_mode) == 0o604


@pytest.mark.parametrize("mask, mode", [(0o022, 0o644), (0o077, 0o600)])
def test_a_new_file_has_the_mode_of_the_umask(tmp_path: Path, mask: int, mode: int) -> None:
    """As gpg makes it."""
    before = os.umask(mask)
    try:
        write_whole(str(tmp_path / "file"), b"new")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode


def test_a_link_to_nothing_makes_the_file_that_it_names(tmp_path: Path) -> None:
    """Nothing can be lost by it."""
    link = tmp_path / "link"
    link.symlink_to("file")
    assert not would_be_lost(str(link))
    write_whole(str(link), b"new")
    assert link.is_symlink()
    assert (tmp_path / "file").read_bytes() == b"new"


def test_a_device_is_written_and_stays_one(tmp_path: Path) -> None:
    """A file in its place would break every program."""
    link = tmp_path / "null"
    link.symlink_to(os.devnull)
    for path in (os.devnull, str(link)):
        assert not would_be_lost(path)
        write_whole(path, b"new")
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)


def test_a_pipe_gets_the_content(tmp_path: Path) -> None:
    """And its reader the end of it."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    write_whole(str(pipe), b"new")
    reader.join()
    assert read == [b"new"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_file_that_is_open_already_is_written_by_its_descriptor(tmp_path: Path) -> None:
    """`-o /dev/stdout > file`: the shell has made the file, and the next program writes behind."""
    file = tmp_path / "file"
    with file.open("wb") as opened:
        inode = file.stat().st_ino
        path = f"/dev/fd/{opened.fileno()}"
        assert not would_be_lost(path)
        write_whole(path, b"new")
    assert file.read_bytes() == b"new"
    assert file.stat().st_ino == inode


@pytest.mark.parametrize("path", ["missing/file", "."])
def test_what_cannot_be_written_is_named(tmp_path: Path, path: str) -> None:
    """A folder, or a file in a folder that is not there."""
    with pytest.raises(OSError) as failed:
        write_whole(str(tmp_path / path), b"new")
    assert failed.value.filename == str(tmp_path / path)


def test_the_draft_of_a_killed_program_is_removed_after_an_hour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name has that of the output, as all drafts of Sigmill have: a young one may be another process's."""

    def killed(*_: object) -> None:
        raise RuntimeError

    file = tmp_path / "InRelease"
    monkeypatch.setattr(os, "fsync", killed)
    monkeypatch.setattr(Path, "unlink", killed)
    with pytest.raises(RuntimeError):
        write_whole(str(file), b"new")
    monkeypatch.undo()
    (left,) = tmp_path.iterdir()
    assert left.match(".InRelease.*.new")
    write_whole(str(file), b"new")
    assert sorted(tmp_path.iterdir()) == [left, file]
    os.utime(left, (0, 0))
    write_whole(str(file), b"newer")
    assert list(tmp_path.iterdir()) == [file]


def test_an_output_of_the_longest_name_is_written(tmp_path: Path) -> None:
    """A draft's name is cut where it would have no room."""
    file = tmp_path / (255 * "x")
    write_whole(str(file), b"new")
    assert file.read_bytes() == b"new"
