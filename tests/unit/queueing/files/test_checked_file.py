"""Files that begin with the hash of their content."""

from __future__ import annotations

from pathlib import Path

import pytest

from queueing.files.checked_file import read_checked, write_checked
from tests.support.damage.changed_bytes import with_one_bit_flipped
from tests.support.disk.calls import DiskCalls


@pytest.mark.parametrize("content", [b"", b"retention"])
def test_a_checked_file_is_read_as_it_was_written(tmp_path: Path, content: bytes) -> None:
    write_checked(tmp_path / "file", content)
    assert read_checked(tmp_path / "file") == content


def test_a_checked_file_is_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a power cut it is the old one or the new one, never a part that would count as damaged."""
    disk = DiskCalls()
    disk.record(monkeypatch)
    write_checked(tmp_path / "file", b"content")
    disk.assert_replaced(tmp_path / "file")


def test_a_flipped_bit_anywhere_is_noticed(tmp_path: Path) -> None:
    """In the content, and in the hash."""
    write_checked(tmp_path / "file", b"content")
    good = (tmp_path / "file").read_bytes()
    for bad in with_one_bit_flipped(good):
        (tmp_path / "file").write_bytes(bad)
        with pytest.raises(ValueError, match="not the one that was hashed"):
            read_checked(tmp_path / "file")


@pytest.mark.parametrize("length", [0, 31, 38])
def test_a_file_that_was_cut_off_is_refused(tmp_path: Path, length: int) -> None:
    """An empty one too, which a power cut can leave of a file that was not synced."""
    write_checked(tmp_path / "file", b"content")
    (tmp_path / "file").write_bytes((tmp_path / "file").read_bytes()[:length])
    with pytest.raises(ValueError, match="not the one that was hashed"):
        read_checked(tmp_path / "file")


def test_a_file_that_is_missing_is_no_damage(tmp_path: Path) -> None:
    """The caller decides what a missing file means."""
    with pytest.raises(FileNotFoundError):
        read_checked(tmp_path / "file")
