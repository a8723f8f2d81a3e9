"""Files beneath a folder: links in it are not followed, whoever put them there."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from queueing.files.beneath import replace_beneath


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


@pytest.mark.parametrize("name", ["x", ".x.part"])
def test_a_file_that_is_a_link_is_replaced_itself(folder: Path, outside: Path, name: str) -> None:
    """Also one in the place of the draft."""
    (folder / name).symlink_to(outside / "x")
    replace_beneath(folder, ("x",), b"ours", sync=True)
    assert content(folder) == {"x": b"ours"}
    assert not (folder / "x").is_symlink()
    assert content(outside) == {"x": b"theirs"}


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
