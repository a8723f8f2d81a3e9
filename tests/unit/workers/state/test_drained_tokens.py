"""Marks of drained tokens: they outlive processes, and are created and removed once."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from workers.state.drained_tokens import DrainedTokens, DrainWatch


def test_a_mark_is_there_until_it_is_removed(tmp_path: Path) -> None:
    """Another process sees it; a second drain or resume reports that nothing changed; the folder has mode 0700."""
    ours, theirs = DrainedTokens(tmp_path), DrainedTokens(tmp_path)
    assert theirs.names() == frozenset()
    assert (ours.drain("acme"), ours.drain("acme"), ours.drain("globex")) == (True, False, True)
    assert theirs.names() == {"acme", "globex"}
    (folder,) = tmp_path.iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert (theirs.resume("acme"), theirs.resume("acme")) == (True, False)
    assert ours.names() == {"globex"}


def test_an_unreadable_folder_is_an_error(tmp_path: Path) -> None:
    """It is not taken for an empty one: the worker keeps its drained tokens."""
    (tmp_path / "drained-tokens").write_text("")
    with pytest.raises(OSError, match="Not a directory"):
        DrainedTokens(tmp_path).names()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_marks_of_root_belong_to_the_owner_of_the_state_directory(tmp_path: Path) -> None:
    """The worker can read and remove them; also in a folder that an earlier version left to root."""
    (tmp_path / "drained-tokens").mkdir(mode=0o700)
    os.chown(tmp_path, 4711, 4712)
    DrainedTokens(tmp_path).drain("acme")
    for file in (tmp_path / "drained-tokens", tmp_path / "drained-tokens" / "acme"):
        assert (file.stat().st_uid, file.stat().st_gid) == (4711, 4712)


def test_a_watch_names_the_tokens_that_were_drained_or_resumed_since(tmp_path: Path) -> None:
    """A folder that cannot be read changes nothing."""
    marks = DrainedTokens(tmp_path)
    watch = DrainWatch(marks)
    marks.drain("acme")
    marks.drain("globex")
    assert watch.read() == {"acme", "globex"}
    marks.resume("acme")
    assert watch.read() == {"acme"}
    assert watch.names == {"globex"}
    folder = tmp_path / "drained-tokens"
    folder.rename(tmp_path / "elsewhere")
    folder.write_text("")
    assert watch.read() == frozenset()
    assert watch.names == {"globex"}
