"""One process at a time has the place of a unix socket."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from pathlib import Path

import pytest

from queueing.files.socket_place import bind_problem, held_place


def test_a_place_is_held_by_one_and_free_behind_the_block(tmp_path: Path) -> None:
    """Also behind a block that failed. The lock is for this user alone, and its file goes with it."""
    place = tmp_path / "agent.sock"
    with contextlib.suppress(RuntimeError), held_place(place):
        with pytest.raises(OSError, match="listens on this socket already"), held_place(place):
            pass
        raise RuntimeError
    with held_place(place):
        assert (tmp_path / "agent.sock.lock").stat().st_mode & 0o777 == 0o600
    assert not list(tmp_path.iterdir())


def lowest_free_descriptor() -> int:
    descriptor = os.open(os.devnull, os.O_RDONLY)
    os.close(descriptor)
    return descriptor


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    """Neither of a place that was held, nor of one that could not be."""
    before = lowest_free_descriptor()
    with held_place(tmp_path / "agent.sock"):
        held = lowest_free_descriptor()
        with pytest.raises(OSError, match="already"), held_place(tmp_path / "agent.sock"):
            pass
        assert lowest_free_descriptor() == held > before
    assert lowest_free_descriptor() == before


def test_a_lock_that_a_killed_process_left_is_taken(tmp_path: Path) -> None:
    """The kernel has released it."""
    (tmp_path / "agent.sock.lock").touch()
    with held_place(tmp_path / "agent.sock"):
        pass
    assert not list(tmp_path.iterdir())


def test_a_lock_that_its_holder_removes_meanwhile_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else two processes would hold two files of one name."""
    lock, flock, removed = tmp_path / "agent.sock.lock", fcntl.flock, list[int]()

    def locked_late(descriptor: int, how: int) -> None:
        if not removed:
            removed.append(descriptor)
            lock.unlink()
        flock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", locked_late)
    with held_place(tmp_path / "agent.sock"):
        assert lock.exists()
        with (
            pytest.raises(OSError, match="listens on this socket already"),
            held_place(tmp_path / "agent.sock"),
        ):
            pass
    assert removed


def test_a_lock_is_not_made_behind_a_link(tmp_path: Path) -> None:
    """A link in a folder of others would make, or lock, a file somewhere else."""
    (tmp_path / "agent.sock.lock").symlink_to(tmp_path / "made")
    with pytest.raises(OSError, match="symbolic links") as refused, held_place(tmp_path / "agent.sock"):
        pass
    assert bind_problem(refused.value) == f"Too many levels of symbolic links ({tmp_path}/agent.sock.lock)"
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("name", ["notes", "folder", "dangling", "x" * 200])
def test_no_lock_is_left_where_no_socket_can_be(name: str, tmp_path: Path) -> None:
    """Another kind of file, or a path that is too long."""
    (tmp_path / "notes").write_text("a user's")
    (tmp_path / "folder").mkdir()
    (tmp_path / "dangling").symlink_to("nowhere")
    with pytest.raises(OSError, match=r"already in use|too long"), held_place(tmp_path / name):
        pass
    assert not list(tmp_path.glob("*.lock"))


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_has_places_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """As NFS without its lock service: a process that runs alone there must start. Another error is one."""

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with held_place(tmp_path / "agent.sock"):
        pass
    assert not list(tmp_path.iterdir())
    number = errno.EIO
    with pytest.raises(OSError, match="Input/output"), held_place(tmp_path / "agent.sock"):
        pass
