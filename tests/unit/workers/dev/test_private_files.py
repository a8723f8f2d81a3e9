"""Private files have mode 0600 from the start."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from workers.dev.private_files import write_private


def test_a_private_file_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    """Mode 0600, also under a umask of 0."""
    before = os.umask(0)
    try:
        write_private(tmp_path / "pin", "1234\n")
    finally:
        os.umask(before)
    assert (tmp_path / "pin").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "pin").read_text() == "1234\n"


def test_an_existing_file_is_not_overwritten(tmp_path: Path) -> None:
    """A second write of the same file raises, and the first content stays."""
    write_private(tmp_path / "pin", "1234\n")
    with pytest.raises(FileExistsError):
        write_private(tmp_path / "pin", "5678\n")
    assert (tmp_path / "pin").read_text() == "1234\n"
