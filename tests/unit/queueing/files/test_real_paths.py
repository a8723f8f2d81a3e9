from __future__ import annotations

import os
from pathlib import Path

import pytest

from queueing.files.real_paths import RealPaths

NAMES = (
    "file",
    "missing",
    "to-file",
    "to-missing",
    "to-itself",
    "folder",
    "folder/file",
    "folder/missing",
    "folder/up",
    "to-folder/file",
    "to-folder/missing",
    "to-folder/up",
    "to-folder/..",
    "folder/../file",
    "to-itself/file",
    "file/below",
    "missing/below/far",
    "folder/",
    "to-folder/.",
    "",
    ".",
    "..",
)


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files, folders, and links in each place of a name."""
    elsewhere = tmp_path / "elsewhere" / "deep"
    elsewhere.mkdir(parents=True)
    (elsewhere / "file").touch()
    place = tmp_path / "place"
    place.mkdir()
    (place / "file").touch()
    (place / "folder").mkdir()
    (place / "folder" / "file").touch()
    (place / "folder" / "up").symlink_to("../file")
    (elsewhere / "up").symlink_to("../../place/to-file")
    (place / "to-folder").symlink_to(elsewhere)
    (place / "to-file").symlink_to("folder/file")
    (place / "to-missing").symlink_to("missing/file")
    (place / "to-itself").symlink_to("to-itself")
    monkeypatch.chdir(place)
    return place


@pytest.mark.parametrize("name", NAMES)
def test_a_path_is_that_of_realpath(tree: Path, name: str) -> None:
    real = RealPaths()
    for spelling in (name, f"{tree}/{name}"):
        assert [real.of(spelling), real.of(spelling)] == 2 * [os.path.realpath(spelling)]


def test_a_folder_is_resolved_once_for_all_of_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run with many thousand files begins with their paths."""
    resolved: list[str] = []

    def realpath(path: str) -> str:
        resolved.append(path)
        return path

    monkeypatch.setattr(os.path, "realpath", realpath)
    real = RealPaths()
    for number in range(1000):
        real.of(tmp_path / str(number % 2) / str(number))
    assert resolved == [str(tmp_path / "0"), str(tmp_path / "1")]


def test_a_name_that_no_file_can_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="null"):
        RealPaths().of(tmp_path / "a\x00b")
