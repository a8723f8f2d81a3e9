"""Files beneath a folder: links in it are not followed."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import BinaryIO

import pytest

from queueing.files.beneath import remove_beneath, replace_beneath, rewrite_beneath
from queueing.files.drafts import sweep


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder with one file, which nothing may change."""
    made = tmp_path / "outside"
    made.mkdir()
    (made / "x").write_bytes(b"theirs")
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "folder"
    made.mkdir()
    return made


def content(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.parametrize("names", [("lnk", "x"), ("lnk", "new", "x"), ("real", "lnk", "x")])
def test_a_folder_that_is_a_link_is_refused(folder: Path, outside: Path, names: tuple[str, ...]) -> None:
    """Nothing is written behind it, and no folder is made there."""
    (folder / "real").mkdir()
    for place in (folder, folder / "real"):
        (place / "lnk").symlink_to(outside)
    with pytest.raises(OSError, match="lnk is a symbolic link") as refused:
        replace_beneath(folder, names, b"ours")
    assert (refused.value.errno, refused.value.filename) == (errno.ELOOP, str(folder.joinpath(*names)))
    assert content(outside) == {"x": b"theirs"}


def test_a_file_that_is_a_link_is_replaced_itself(folder: Path, outside: Path) -> None:
    """Its target is not changed."""
    (folder / "x").symlink_to(outside / "x")
    replace_beneath(folder, ("x",), b"ours", sync=True)
    assert content(folder) == {"x": b"ours"}
    assert not (folder / "x").is_symlink()
    assert content(outside) == {"x": b"theirs"}


def test_a_link_in_the_place_of_the_draft_is_not_followed(
    folder: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The draft's name is random; a link that has it by chance is an error of this file."""
    monkeypatch.setattr("secrets.token_hex", lambda _: "0")
    (folder / ".x.0.new").symlink_to(outside / "x")
    with pytest.raises(FileExistsError):
        replace_beneath(folder, ("x",), b"ours")
    assert content(outside) == {"x": b"theirs"}


def test_two_that_write_one_file_leave_a_whole_one(folder: Path) -> None:
    """A run beside another one, of the same names: no part of either is renamed by the other."""

    def write(to: BinaryIO) -> None:
        to.write(b"first, ")
        replace_beneath(folder, ("x",), b"of the other")
        assert content(folder)["x"] == b"of the other"
        to.write(b"whole")

    rewrite_beneath(folder, ("x",), write)
    assert content(folder) == {"x": b"first, whole"}


def test_the_draft_of_a_process_that_was_killed_is_swept_up(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the next run, an hour later."""
    monkeypatch.setattr("os.unlink", lambda *_, **__: None)
    with pytest.raises(RuntimeError):
        rewrite_beneath(folder, ("x",), _killed)
    monkeypatch.undo()
    (left,) = folder.iterdir()
    sweep([folder / "x"])
    assert content(folder) == {left.name: b""}
    os.utime(left, (0, 0))
    sweep([folder / "x"])
    assert content(folder) == {}


def _killed(_: BinaryIO) -> None:
    raise RuntimeError


def test_the_folder_itself_may_be_a_link(tmp_path: Path, folder: Path) -> None:
    """It is the caller's own choice."""
    (tmp_path / "current").symlink_to(folder)
    replace_beneath(tmp_path / "current", ("a", "x"), b"ours")
    assert (folder / "a" / "x").read_bytes() == b"ours"


def test_missing_folders_get_the_mode(tmp_path: Path) -> None:
    """The first one, too."""
    replace_beneath(tmp_path / "out", ("a", "x"), b"ours", folder_mode=0o700)
    assert [place.stat().st_mode & 0o777 for place in (tmp_path / "out", tmp_path / "out" / "a")] == [
        0o700
    ] * 2


def test_what_fails_leaves_no_part_and_no_open_descriptor(folder: Path) -> None:
    """A file in the place of a folder, and a folder in the place of the file."""
    (folder / "file").write_bytes(b"")
    (folder / "taken").mkdir()
    before = len([*Path("/proc/self/fd").iterdir()])
    for names in (("file", "x"), ("taken",)):
        with pytest.raises(OSError, match=r"."):
            replace_beneath(folder, names, b"ours")
    assert len([*Path("/proc/self/fd").iterdir()]) == before
    assert {place.name for place in folder.iterdir()} == {"file", "taken"}


@pytest.mark.parametrize("names", [("lnk", "x"), ("real", "lnk", "x")])
def test_nothing_is_removed_behind_a_link(folder: Path, outside: Path, names: tuple[str, ...]) -> None:
    """The error names the file."""
    (folder / "real").mkdir()
    for place in (folder, folder / "real"):
        (place / "lnk").symlink_to(outside)
    with pytest.raises(OSError, match="x"):
        remove_beneath(folder, names)
    assert content(outside) == {"x": b"theirs"}


def test_a_file_is_removed_and_the_folder_that_is_empty_then(folder: Path, outside: Path) -> None:
    """One with other files stays, as does what a link leads to; a file that is not there is no error."""
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a" / "b" / "x").symlink_to(outside / "x")
    (folder / "a" / "y").touch()
    (folder / "z").touch()
    before = len([*Path("/proc/self/fd").iterdir()])
    for names in (("a", "b", "x"), ("a", "b", "x"), ("a", "no", "x"), ("z",)):
        remove_beneath(folder, names)
    assert len([*Path("/proc/self/fd").iterdir()]) == before
    assert [str(each.relative_to(folder)) for each in sorted(folder.rglob("*"))] == ["a", "a/y"]
    assert content(outside) == {"x": b"theirs"}
