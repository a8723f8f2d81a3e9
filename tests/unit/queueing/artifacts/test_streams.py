"""The state of a file shows a change of its content, and no other."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from queueing.artifacts.streams import CHUNK_BYTES, FileState
from queueing.errors import InputUnreadable


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with two names."""
    made = tmp_path / "app.exe"
    made.write_bytes(b"content")
    made.with_name("other.exe").hardlink_to(made)
    return made


def state_of(file: Path) -> FileState:
    with file.open("rb") as stream:
        return FileState.of(stream)


def test_a_name_that_the_file_loses_or_gains_is_no_change(file: Path) -> None:
    """As when another hard link of it was signed; the kernel moves the time of its status, and not that of its content."""
    state, other = state_of(file), file.with_name("other.exe")
    before_ns = file.stat().st_ctime_ns
    while file.stat().st_ctime_ns == before_ns:  # a tick of the file system's clock
        other.unlink()
        other.hardlink_to(file)
    other.unlink()
    state.check_same(file)
    os.link(file, other)
    os.link(file, file.with_name("third.exe"))
    state.check_same(file)


@pytest.mark.parametrize(
    "change", ["content", "content of the same size and time", "another file", "a name and content"]
)
def test_a_change_is_refused(file: Path, change: str) -> None:
    """Also one that sets the time of the content back, and one beside a lost name."""
    state, facts = state_of(file), file.stat()
    while file.stat().st_ctime_ns == facts.st_ctime_ns:
        match change:
            case "another file":
                file.unlink()
                file.write_bytes(b"content")
            case "content of the same size and time":
                file.write_bytes(b"CONTENT")
                os.utime(file, ns=(facts.st_atime_ns, facts.st_mtime_ns))
            case _:
                file.write_bytes(b"CONTENT")
    if change == "a name and content":
        file.with_name("other.exe").unlink()
    with pytest.raises(InputUnreadable, match="changed by another process"):
        state.check_same(file)


def test_the_size_of_a_chunk_is_a_multiple_of_eight() -> None:
    """The checksum takes a chunk as whole words."""
    assert CHUNK_BYTES % 8 == 0
