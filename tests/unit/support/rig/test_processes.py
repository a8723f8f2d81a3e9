"""Tests of processes as ``/proc`` shows them, in a folder that is laid out as proc(5) says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.rig.processes import children, command_of, descendants, has_ended, open_files


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """Process 1 with two children, of which 3 has one; each of 1 and 3 has a thread that ends while it is read."""
    for pid, started in {1: "2 3 ", 2: "", 3: "4 ", 4: ""}.items():
        (tmp_path / str(pid) / "task" / str(pid)).mkdir(parents=True)
        (tmp_path / str(pid) / "task" / str(pid) / "children").write_text(started)
        (tmp_path / str(pid) / "stat").write_text(f"{pid} (a (b) c) S 1 1")
    for pid in (1, 3):
        (tmp_path / str(pid) / "task" / "99").mkdir()
    return tmp_path


def test_a_thread_that_ends_while_it_is_read_hides_no_child_of_another(proc: Path) -> None:
    """Its folder was listed, and its file is not there any more."""
    assert children(1, proc) == [2, 3]
    assert descendants(1, proc) == [2, 3, 4]


def test_a_process_that_is_gone_has_nothing(proc: Path) -> None:
    """No children and no command line; it has ended."""
    assert children(77, proc) == []
    assert command_of(77, proc) == []
    assert has_ended(77, proc)


def test_a_zombie_has_ended(proc: Path) -> None:
    """The state comes after the last parenthesis of the name."""
    assert not has_ended(2, proc)
    (proc / "2" / "stat").write_text("2 (S) R) Z 1 1")
    assert has_ended(2, proc)


def test_a_process_that_ends_between_open_and_read_has_ended(
    proc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel answers such a read with ESRCH."""

    def read_text(_self: Path) -> str:
        raise ProcessLookupError

    monkeypatch.setattr(Path, "read_text", read_text)
    assert has_ended(2, proc)
    assert children(1, proc) == []


def test_a_descriptor_that_is_closed_meanwhile_is_not_an_open_file(
    proc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are listed all the same."""
    folder = proc / "1" / "fd"
    folder.mkdir()
    (folder / "0").symlink_to("/dev/null")
    (folder / "5").symlink_to("/closed")
    follow = Path.readlink

    def readlink(self: Path) -> Path:
        if self.name == "5":
            raise FileNotFoundError
        return follow(self)

    monkeypatch.setattr(Path, "readlink", readlink)
    assert open_files(1, proc) == {"/dev/null"}
