"""Sample files of the demonstration: regular files in a fixed order, and nothing else."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from workers.dev.demo.sample_files import regular_files, sha256_of_files


def make_tree(root: Path) -> None:
    """Files, a directory, symbolic links to both, and a pipe."""
    (root / "b").mkdir()
    (root / "b" / "two").write_bytes(b"2")
    (root / "a").write_bytes(b"1")
    (root / "c").write_bytes(b"3")
    (root / "link").symlink_to(root / "a")
    (root / "loop").symlink_to(root)
    os.mkfifo(root / "pipe")


def test_only_regular_files_in_a_fixed_order(tmp_path: Path) -> None:
    """Links and pipes are left out, and two runs see the same order."""
    make_tree(tmp_path)

    assert [p.name for p in regular_files([tmp_path])] == ["a", "c", "two"]


def test_at_most_so_many_are_hashed(tmp_path: Path) -> None:
    """The limit keeps the first files in that order."""
    make_tree(tmp_path)

    assert sha256_of_files([tmp_path], 2) == [hashlib.sha256(b"1").digest(), hashlib.sha256(b"3").digest()]


def test_what_is_not_there_is_no_input(tmp_path: Path) -> None:
    """A root that does not exist has no files."""
    assert sha256_of_files([tmp_path / "gone"], 5) == []
