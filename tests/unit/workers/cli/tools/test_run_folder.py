"""Folder of one run, and those that killed runs left."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from queueing.files.folders import entries
from queueing.unix_time import HostClock
from workers.cli.tools import run_folder as module
from workers.cli.tools.run_folder import MARKER, PREFIX, run_folder


@pytest.fixture
def below(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """TMPDIR of this process."""
    made = tmp_path / "tmp"
    made.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(made))
    return made


def left(below: Path, name: str = f"{PREFIX}killed") -> Path:
    """A folder as a run of this boot leaves it that is killed: with a marker that is not locked."""
    folder = below / name
    folder.mkdir(mode=0o700)
    (folder / MARKER).write_text(HostClock().boot_id())
    (folder / "openssl.cnf").write_text("a person's own settings")
    (folder / "pgp").mkdir()
    (folder / "pgp/release.asc").write_text("certificate")
    return folder


def test_a_folder_is_private_and_goes_with_its_run(below: Path) -> None:
    """Nothing else is in it than its marker."""
    with run_folder() as folder:
        assert folder.parent == below
        assert folder.stat().st_mode & 0o777 == 0o700
        assert [file.name for file in folder.iterdir()] == [MARKER]
        (folder / "openssl.cnf").touch()
    assert not list(below.iterdir())


def test_what_a_killed_run_left_is_removed_by_the_next_one(below: Path, tmp_path: Path) -> None:
    """Links in it are removed, and not followed."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home/notes").write_text("a user's")
    folder = left(below)
    (folder / "link").symlink_to(tmp_path / "home")
    (folder / "pgp/link").symlink_to(tmp_path / "home")
    with run_folder() as own:
        assert list(below.iterdir()) == [own]
    assert (tmp_path / "home/notes").read_text() == "a user's"


def test_folders_of_runs_that_live_stay(below: Path) -> None:
    """Each has its own, also while others begin and end."""
    with run_folder() as first:
        (first / "openssl.cnf").touch()
        with run_folder() as second, run_folder():
            pass
        assert list(below.iterdir()) == [first]
        assert second != first
        assert sorted(file.name for file in first.iterdir()) == [MARKER, "openssl.cnf"]


def _open_to_others(folder: Path) -> None:
    folder.chmod(0o755)


def _without_marker(folder: Path) -> None:
    (folder / MARKER).unlink()


def _marker_is_a_link(folder: Path) -> None:
    (folder / MARKER).rename(folder / "elsewhere")
    (folder / MARKER).symlink_to("elsewhere")


def _marker_is_a_pipe(folder: Path) -> None:
    (folder / MARKER).unlink()
    os.mkfifo(folder / MARKER)


def _of_another_host(folder: Path) -> None:
    """Over NFS without its locks; a virtual machine may see no locks of others either."""
    (folder / MARKER).write_text("5c8f6a0e-0000-4000-8000-000000000000")


def _of_an_unknown_host(folder: Path) -> None:
    (folder / MARKER).write_text("")


def _of_another_name(folder: Path) -> None:
    folder.rename(folder.with_name("sigmill-dev"))


def _behind_a_link(folder: Path) -> None:
    folder.rename(folder.parents[1] / "elsewhere")
    folder.symlink_to(folder.parents[1] / "elsewhere")


def _a_file(folder: Path) -> None:
    folder.rename(folder.parents[1] / "elsewhere")
    folder.write_text("a user's")


@pytest.mark.parametrize(
    "change",
    [
        _open_to_others,
        _without_marker,
        _marker_is_a_link,
        _marker_is_a_pipe,
        _of_another_host,
        _of_an_unknown_host,
        _of_another_name,
        _behind_a_link,
        _a_file,
    ],
    ids=lambda change: change.__name__.strip("_").replace("_", " "),
)
def test_what_no_run_has_left_stays(change: Callable[[Path], None], below: Path) -> None:
    """Its name says nothing."""
    change(left(below))
    before = sorted(below.parent.rglob("*"))
    with run_folder():
        pass
    assert sorted(below.parent.rglob("*")) == before


def test_a_folder_that_stays_keeps_no_other_one(below: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody may put as many there as they like."""
    for name in ("1", "3"):
        _without_marker(left(below, PREFIX + name))
    for name in ("2", "4"):
        left(below, PREFIX + name)
    monkeypatch.setattr(module, "each_entry", entries)
    module.sweep(below)
    assert [folder.name for folder in entries(below)] == [f"{PREFIX}1", f"{PREFIX}3"]


def test_a_tmpdir_that_cannot_be_listed_is_no_error(below: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its user may be allowed to make names in it alone."""

    def refused(_: Path) -> list[Path]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(module, "each_entry", refused)
    with run_folder() as folder:
        assert (folder / MARKER).exists()


def test_a_marker_is_locked_when_it_has_its_name(below: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that starts meanwhile would lock it first, and this one could not."""
    named, flock = list[bool](), fcntl.flock

    def noted(descriptor: int, how: int) -> None:
        named.append(any(below.glob(f"*/{MARKER}")))
        flock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", noted)
    with run_folder():
        assert named == [False]


def test_a_folder_is_removed_as_its_run_made_it(below: Path, tmp_path: Path) -> None:
    """Name, mode and marker are those by which the next run finds it."""
    with run_folder() as own:
        shutil.copytree(own, tmp_path / "copy")
    (tmp_path / "copy").rename(own)
    module.sweep(below)
    assert not own.exists()


def test_where_the_kernel_tells_no_boot_nothing_is_removed(
    below: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any other host could have the same marker."""
    monkeypatch.setattr(HostClock, "boot_id", lambda _: "")
    folder = left(below)
    module.sweep(below)
    assert (folder / MARKER).exists()


def test_a_folder_of_another_user_stays(below: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root could remove it."""
    folder = left(below)
    monkeypatch.setattr(os, "geteuid", lambda: folder.stat().st_uid + 1)
    module.sweep(below)
    assert (folder / "pgp/release.asc").exists()


def test_what_is_put_in_the_place_of_a_left_folder_stays(
    below: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a TMPDIR that others may write, they may rename a folder while it is removed."""
    folder, flock = left(below), fcntl.flock

    def renamed(descriptor: int, how: int) -> None:
        flock(descriptor, how)
        folder.rename(below / "moved")
        (below / "valuable").rename(folder)

    (below / "valuable").mkdir(mode=0o700)
    (below / "valuable/notes").write_text("a user's")
    monkeypatch.setattr(fcntl, "flock", renamed)
    module.sweep(below)
    assert (folder / "notes").read_text() == "a user's"
    assert list((below / "moved").iterdir()) == []


def test_one_start_removes_a_few(below: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And looks at some thousand names: a full TMPDIR delays no build. The rest is for the next start."""
    for number in range(5):
        left(below, f"{PREFIX}{number}")
    monkeypatch.setattr(module, "_MOST_REMOVED", 2)
    module.sweep(below)
    assert len(list(below.iterdir())) == 3
    monkeypatch.setattr(module, "_MOST_SEEN", 0)
    module.sweep(below)
    assert len(list(below.iterdir())) == 3


def test_a_sweep_that_is_cut_off_is_continued(below: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The marker goes last."""
    folder = left(below)
    with monkeypatch.context() as failing:
        failing.setattr(module, "_remove", lambda *_: (_ for _ in ()).throw(OSError("disk")))
        module.sweep(below)
    assert (folder / MARKER).exists()
    module.sweep(below)
    assert not folder.exists()


def test_a_folder_that_cannot_be_marked_is_not_left(below: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as on a full disk."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "_mark", full)
    with pytest.raises(OSError, match="No space left"), run_folder():
        pass
    assert not list(below.iterdir())


def test_a_file_system_without_locks_has_folders_that_no_sweep_removes(
    below: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no telling which of them are in use."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with run_folder() as folder:
        assert not list(folder.iterdir())
        monkeypatch.undo()
        monkeypatch.setattr(tempfile, "tempdir", str(below))
        with run_folder():
            assert folder.exists()
    assert not list(below.iterdir())
