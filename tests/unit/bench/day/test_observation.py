"""Sizes of folders that others write into meanwhile."""

from __future__ import annotations

from pathlib import Path

from bench.day.observation import tree_bytes


def test_all_files_below_a_folder_count(tmp_path: Path) -> None:
    (tmp_path / "logs" / "acme").mkdir(parents=True)
    (tmp_path / "logs" / "acme" / "items").write_bytes(bytes(1000))
    (tmp_path / "status").write_bytes(bytes(24))
    assert tree_bytes(tmp_path) == 1024


def test_what_is_not_there_has_no_size(tmp_path: Path) -> None:
    """A record that no sealer has begun, and a file that was replaced between two looks."""
    assert tree_bytes(tmp_path / "record") == 0
    (tmp_path / "gone").symlink_to(tmp_path / "nothing")
    assert tree_bytes(tmp_path) == 0
