"""One process per log."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from workers.state.directory import LogInUse, own_folder


def test_a_second_owner_is_told_who_is_the_first(tmp_path: Path) -> None:
    """By its process id."""
    lock = own_folder(tmp_path / "wal")
    with pytest.raises(LogInUse) as refused:
        own_folder(tmp_path / "wal")
    assert refused.value.pid == os.getpid()
    os.close(lock)


def test_a_log_whose_owner_has_ended_is_free(tmp_path: Path) -> None:
    """However it ended: the kernel lets go, and the file that is left says nothing."""
    os.close(own_folder(tmp_path / "wal"))
    (tmp_path / "wal" / "lock").write_text("123456789 and more")
    os.close(own_folder(tmp_path / "wal"))
    assert (tmp_path / "wal" / "lock").read_text() == str(os.getpid())


def test_folder_and_lock_are_the_owners_alone(tmp_path: Path) -> None:
    """There are signatures in it."""
    os.close(own_folder(tmp_path / "wal"))
    assert stat.S_IMODE((tmp_path / "wal").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "wal" / "lock").stat().st_mode) == 0o600


def test_a_lock_that_cannot_be_made_is_another_error(tmp_path: Path) -> None:
    """The disk is the matter, not a neighbour."""
    (tmp_path / "wal").touch()
    with pytest.raises(FileExistsError):
        own_folder(tmp_path / "wal")
