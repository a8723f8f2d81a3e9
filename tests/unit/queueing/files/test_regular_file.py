"""Bounded reading of files that another party wrote."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from queueing.files.regular_file import read_regular


def test_a_file_is_read_up_to_its_bound(tmp_path: Path) -> None:
    """A file of the largest size is read, one byte more is an error."""
    file = tmp_path / "file"
    file.write_bytes(b"x" * 10)
    assert read_regular(file, largest_bytes=10) == b"x" * 10
    with pytest.raises(OSError, match="larger than 9 bytes") as caught:
        read_regular(file, largest_bytes=9)
    assert caught.value.errno == errno.EFBIG


@pytest.mark.timeout(10)
def test_only_regular_files_are_read(tmp_path: Path) -> None:
    """A pipe without a writer does not block its reader; a device does not fill the memory; links are followed."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    for name in ("pipe", "link"):
        with pytest.raises(OSError, match="not a regular file"):
            read_regular(tmp_path / name, largest_bytes=10)
    with pytest.raises(IsADirectoryError):
        read_regular(tmp_path, largest_bytes=10)


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    """A worker that reloads a wrong path for years keeps its descriptors."""
    before = list(Path("/proc/self/fd").iterdir())
    for _ in range(3):
        with pytest.raises(IsADirectoryError):
            read_regular(tmp_path, largest_bytes=10)
    assert len(list(Path("/proc/self/fd").iterdir())) == len(before)
