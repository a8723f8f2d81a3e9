"""State directory: one worker owns it, and errors name the file that configures it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from queueing.errors import ConfigError
from workers.state.directory import LogInUse, StateDirectory, own_folder


def test_a_second_owner_is_refused_with_the_pid_of_the_first(tmp_path: Path) -> None:
    """``LogInUse`` carries the process id of the owner."""
    lock = own_folder(tmp_path / "wal")
    with pytest.raises(LogInUse) as refused:
        own_folder(tmp_path / "wal")
    assert refused.value.pid == os.getpid()
    os.close(lock)


def test_a_log_whose_owner_has_ended_is_free(tmp_path: Path) -> None:
    """The kernel unlocks the file when the owner ends; its old content does not matter."""
    os.close(own_folder(tmp_path / "wal"))
    (tmp_path / "wal" / "lock").write_text("123456789 and more")
    os.close(own_folder(tmp_path / "wal"))
    assert (tmp_path / "wal" / "lock").read_text() == str(os.getpid())


def test_folder_and_lock_are_the_owners_alone(tmp_path: Path) -> None:
    """The log has signatures: folder and lock have modes 0700 and 0600."""
    os.close(own_folder(tmp_path / "wal"))
    assert stat.S_IMODE((tmp_path / "wal").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "wal" / "lock").stat().st_mode) == 0o600


def test_a_lock_that_cannot_be_made_is_another_error(tmp_path: Path) -> None:
    """A file in place of the folder raises another ``OSError`` than ``LogInUse``."""
    (tmp_path / "wal").touch()
    with pytest.raises(FileExistsError):
        own_folder(tmp_path / "wal")


def test_a_directory_is_owned_until_its_release(tmp_path: Path) -> None:
    """A second worker is refused with the owner's process id, and may own the directory after the release."""
    file = tmp_path / "sigmill.toml"
    first = StateDirectory(tmp_path / "state", configured_in=file)
    second = StateDirectory(tmp_path / "state", configured_in=file)
    first.own()
    with pytest.raises(ConfigError, match=f"runs as process {os.getpid()}") as refused:
        second.own()
    assert (refused.value.file, refused.value.key) == (str(file), "service.state_dir")
    first.release()
    second.own()
    second.release()


def test_an_unusable_directory_is_a_configuration_error(tmp_path: Path) -> None:
    """A file in its place is reported with the key that names the directory."""
    (tmp_path / "state").touch()
    with pytest.raises(ConfigError, match="cannot be used") as refused:
        StateDirectory(tmp_path / "state", configured_in=tmp_path / "sigmill.toml").own()
    assert refused.value.key == "service.state_dir"


@pytest.mark.timeout(10)
def test_a_pipe_in_the_place_of_the_lock_is_named(tmp_path: Path) -> None:
    """A worker that starts does not wait for it."""
    (tmp_path / "state" / "wal").mkdir(parents=True)
    os.mkfifo(tmp_path / "state" / "wal" / "lock")
    with pytest.raises(ConfigError, match=r"wal/lock cannot be used \(not a regular file\)"):
        StateDirectory(tmp_path / "state", configured_in=tmp_path / "sigmill.toml").own()
