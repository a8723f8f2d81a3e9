"""Listing of folders: what cannot be listed is never taken for empty."""

from __future__ import annotations

import ast
import errno
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import bench
import queueing
import workers
from queueing.errors import ConfigError
from queueing.files.folders import entries, entries_below, is_there, last_names, names_below
from tests.support.disk.nested_folders import DEEP, nested_folders
from tests.support.fakes.config_files import Site
from workers.config.loading import load_scope
from workers.config.tenant_writer import token_owners
from workers.config.validation import validate_all
from workers.journal.recovery import recover
from workers.lanes.process.live_policy import LivePolicy
from workers.state.directory import reading_state
from workers.state.drained_tokens import DrainedTokens
from workers.state.refused_pins import RefusedPins
from workers.state.running_workers import running_workers
from workers.state.stop_orders import StopOrderFolder
from workers.support.collectors import _listing

PACKAGES = [Path(package.__file__ or "").parent for package in (bench, queueing, workers)]
SOURCES = sorted(file for folder in PACKAGES for file in folder.rglob("*.py"))

Breaking = Callable[[Path], None]


@pytest.fixture(params=[errno.EIO, errno.EACCES], ids=["EIO", "EACCES"])
def code(request: pytest.FixtureRequest) -> int:
    """A disk that is broken, and a right that is missing: Python's own listings hide the one, the other, or both."""
    return int(request.param)


@pytest.fixture
def unlistable(code: int, monkeypatch: pytest.MonkeyPatch) -> Breaking:
    """Makes a folder one that the kernel does not list."""
    broken: set[str] = set()

    def refuse(real: Callable[..., Any]) -> Callable[..., Any]:
        def listing(path: Any = ".") -> Any:
            if os.fspath(path) in broken:
                raise OSError(code, os.strerror(code), os.fspath(path))
            return real(path)

        return listing

    for name in ("scandir", "listdir"):
        monkeypatch.setattr(os, name, refuse(getattr(os, name)))

    def break_folder(folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        broken.add(str(folder))

    return break_folder


def test_entries_are_sorted_and_of_the_suffix(tmp_path: Path) -> None:
    """Subfolders are entries, their content is not."""
    for name in ("b.toml", "a.toml", "c.txt"):
        (tmp_path / name).touch()
    (tmp_path / "d.toml").mkdir()
    (tmp_path / "d.toml" / "e.toml").touch()
    assert [file.name for file in entries(tmp_path, suffix=".toml")] == ["a.toml", "b.toml", "d.toml"]
    assert [file.name for file in entries_below(tmp_path)] == [
        "a.toml",
        "b.toml",
        "c.txt",
        "d.toml",
        "e.toml",
    ]


def test_a_folder_that_is_missing_is_empty_only_where_the_caller_says_so(tmp_path: Path) -> None:
    """Otherwise it is an error."""
    assert entries(tmp_path / "none", missing_ok=True) == []
    with pytest.raises(FileNotFoundError):
        entries(tmp_path / "none")


def test_a_file_is_missing_only_where_the_kernel_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error is no absence."""
    assert is_there(tmp_path)
    assert not is_there(tmp_path / "none")

    def broken(self: Path, **_: Any) -> os.stat_result:
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(self))

    monkeypatch.setattr(Path, "stat", broken)
    with pytest.raises(OSError, match="Input/output error"):
        is_there(tmp_path)


def test_a_tenants_folder_that_cannot_be_listed_is_a_mistake(tmp_path: Path, unlistable: Breaking) -> None:
    """With no tenants the configuration would be right, and a reload would take them all away."""
    site = Site(tmp_path).write()
    unlistable(tmp_path / "tenants")
    assert "cannot be listed" in site.mistake().problem
    assert any("cannot be listed" in error.problem for error in validate_all(site.config).errors)
    with pytest.raises(ConfigError, match="cannot be listed"):
        token_owners(load_scope(site.config))


def test_a_log_that_cannot_be_listed_is_not_an_empty_one(
    tmp_path: Path, unlistable: Breaking, code: int
) -> None:
    """A worker that found nothing in it would sign again what is open there."""
    unlistable(tmp_path / "wal")
    with pytest.raises(OSError, match=os.strerror(code)):
        recover(tmp_path / "wal")


def test_stop_orders_that_cannot_be_listed_are_in_force(
    tmp_path: Path, unlistable: Breaking, code: int
) -> None:
    """It is not known what is stopped: the worker does not start, and a lane of its user forwards nothing.

    A lane of another user may lack the right to look: the worker tells it.
    """
    site = Site(tmp_path).write()
    unlistable(tmp_path / "state" / "orders")
    with pytest.raises(OSError, match=os.strerror(code)):
        StopOrderFolder(tmp_path / "state").read("test")
    if code == errno.EACCES:
        LivePolicy(site.config, token="acme", tenant="acme")
    else:
        with pytest.raises(ConfigError, match="cannot be read"):
            LivePolicy(site.config, token="acme", tenant="acme")


@pytest.mark.parametrize(
    "folder, read",
    [
        ("refused-pins/.told", lambda state: RefusedPins(state).to_report()),
        ("refused-pins/.heard", lambda state: RefusedPins(state).replace_reported({})),
        ("drained-tokens", lambda state: DrainedTokens(state).names()),
        ("workers", lambda state: list(running_workers(state))),
        ("anything", _listing),
    ],
    ids=["told", "heard", "drained", "workers", "listing"],
)
def test_a_folder_of_the_state_directory_that_cannot_be_listed_is_an_error(
    tmp_path: Path, unlistable: Breaking, code: int, folder: str, read: Callable[[Path], object]
) -> None:
    """Not a state in which nothing is refused, drained or running."""
    unlistable(tmp_path / folder)
    with pytest.raises(OSError, match=os.strerror(code)):
        read(tmp_path)


def test_an_unreadable_state_directory_is_told_in_a_sentence(tmp_path: Path) -> None:
    """With the place, the reason and the way out."""
    with (
        pytest.raises(
            ConfigError, match=r"service\.state_dir: .*/drained-tokens cannot be read \(Input/output error\)"
        ),
        reading_state(tmp_path / "sigmill.toml"),
    ):
        raise OSError(errno.EIO, os.strerror(errno.EIO), "/var/lib/sigmill/drained-tokens")


LISTINGS = {"glob", "rglob", "iterdir", "listdir", "scandir", "walk"}
_LISTS = re.compile(rf"\.[\s\\]*(?:{'|'.join(LISTINGS)})\b")
"""Text of a file that may have such a call: the parser takes seconds for all of them."""

LISTS_ITSELF = {"folders.py": {"scandir"}, "sample_files.py": {"walk"}}


def listings(text: str) -> set[str]:
    """Names of the calls that list folders."""
    if not _LISTS.search(text):
        return set()
    return LISTINGS & {
        node.func.attr
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }


def test_folders_are_listed_in_one_place() -> None:
    """``queueing.files.folders``: what Python has beside it hides errors, or does so in some versions."""
    assert listings("names = os.\\\n  listdir(place)") == {"listdir"}
    found = {file: listings(file.read_text()) - LISTS_ITSELF.get(file.name, set()) for file in SOURCES}
    assert not {str(file): calls for file, calls in found.items() if calls}


def test_names_below_a_folder_are_of_what_is_no_folder(tmp_path: Path) -> None:
    """A folder that is deeper than asked is named, and not entered; a link is named, and not followed."""
    (tmp_path / "a" / "b" / "c").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c" / "file").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("a")
    assert sorted(names_below(tmp_path, 1)) == ["a/b", "link"]
    assert sorted(names_below(tmp_path, 2)) == ["a/b/c", "link"]
    assert sorted(names_below(tmp_path, 3)) == ["a/b/c/file", "link"]


def test_a_folder_below_that_cannot_be_listed_is_an_error(
    tmp_path: Path, unlistable: Breaking, code: int
) -> None:
    unlistable(tmp_path / "a" / "b")
    with pytest.raises(OSError, match=os.strerror(code)):
        list(names_below(tmp_path, 3))


def test_folders_in_folders_take_no_frames_of_the_stack(tmp_path: Path) -> None:
    """Their names may have 4,096 bytes together."""
    with nested_folders(tmp_path):
        assert len(entries_below(tmp_path)) == DEEP


def test_the_last_names_of_a_folder_are_the_last_in_their_order(tmp_path: Path) -> None:
    """The last one first; a folder that is not there has none, and a file is an error."""
    for name in ("b", "c", "a"):
        (tmp_path / name).write_bytes(b"")
    assert last_names(tmp_path, 2) == ["c", "b"]
    assert last_names(tmp_path / "missing", 2) == []
    with pytest.raises(NotADirectoryError):
        last_names(tmp_path / "a", 2)
