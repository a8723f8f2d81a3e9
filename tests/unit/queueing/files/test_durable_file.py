"""Replacing a file durably: the old file or the new one, and its mode, owner and link stay."""

import os
import stat
from pathlib import Path

import pytest

from queueing.files.durable_file import remove_durably, replace_durably


def mode_of(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


def test_a_new_file_has_the_mode_that_was_asked_for(tmp_path: Path) -> None:
    """A new file gets the mode of the call, and its data."""
    file = tmp_path / "seal.json"
    replace_durably(file, b"new", mode=0o640)
    assert file.read_bytes() == b"new"
    assert mode_of(file) == 0o640


def test_an_existing_file_keeps_its_mode(tmp_path: Path) -> None:
    """A replaced file keeps the mode that its owner gave it."""
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


def test_data_is_synced_before_the_rename_and_the_folder_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order of the system calls is what makes the replacement durable."""
    calls: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def noted_fsync(descriptor: int) -> None:
        calls.append("sync folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "sync data")
        fsync(descriptor)

    def noted_replace(self: Path, target: Path) -> Path:
        calls.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    replace_durably(tmp_path / "file", b"data")
    assert calls == ["sync data", "rename", "sync folder"]


def test_a_failed_write_leaves_the_old_file_and_no_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk costs nothing but the new version."""
    file = tmp_path / "file"
    file.write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        replace_durably(file, b"new")
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_removal_syncs_the_folder_and_a_missing_file_is_no_error(tmp_path: Path) -> None:
    """Removing twice is removing once."""
    file = tmp_path / "file"
    file.write_bytes(b"old")
    remove_durably(file)
    remove_durably(file)
    assert list(tmp_path.iterdir()) == []
