"""Drafts that killed processes left are removed, and no other file is."""

from __future__ import annotations

import os
import time
from pathlib import Path

from queueing.files.drafts import draft_prefix, sweep


def test_drafts_of_crashed_writers_are_swept_by_request(tmp_path: Path) -> None:
    """Drafts of the named files, older than an hour; a name that no file can have is skipped."""
    old, young, others = (tmp_path / f".{name}.new" for name in ("a.exe.x1", "a.exe.x2", "b.exe.x3"))
    for draft in (old, young, others):
        draft.write_bytes(b"")
    for draft in (old, others):
        os.utime(draft, (time.time() - 7200,) * 2)
    sweep([tmp_path / "a.exe", Path("a\0b"), tmp_path / "missing/x"])
    assert sorted(tmp_path.iterdir()) == sorted([young, others])


def test_drafts_of_a_long_name_are_swept_up_with_those_of_its_own_beginning(tmp_path: Path) -> None:
    """A draft's name has no place for 255 bytes; it may be cut within a character."""
    long, short = tmp_path / (127 * "\u00e4" + "x"), tmp_path / "short"
    drafts = [tmp_path / f"{draft_prefix(file.name)}12345678.new" for file in (long, short)]
    other = tmp_path / ".other.12345678.new"
    for draft in (*drafts, other):
        draft.touch()
        os.utime(draft, (0, 0))
    assert [len(os.fsencode(draft.name)) for draft in drafts] == [255, 19]
    sweep([long, short])
    assert list(tmp_path.iterdir()) == [other]
