"""Compilation of the native loop."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from workers.hsm.native import build


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder with the source alone."""
    shutil.copy(build.SOURCE, tmp_path / "sign_run.c")
    monkeypatch.setattr(build, "FOLDER", tmp_path)
    monkeypatch.setattr(build, "SOURCE", tmp_path / "sign_run.c")
    return tmp_path


def test_a_changed_source_has_a_library_of_another_name(folder: Path) -> None:
    """An unchanged source is not compiled again."""
    first = build.compile_library()
    made_ns = first.stat().st_mtime_ns
    assert build.compile_library().stat().st_mtime_ns == made_ns
    with (folder / "sign_run.c").open("a") as source:
        source.write("/* changed */\n")
    assert build.compile_library() != first


def test_a_source_that_does_not_compile_leaves_nothing(folder: Path) -> None:
    (folder / "sign_run.c").write_text("int broken(\n")
    with pytest.raises(build.CompileFailed, match="error:"):
        build.compile_library()
    assert list(folder.iterdir()) == [folder / "sign_run.c"]


@pytest.mark.parametrize("compiler", ["", "no-compiler-of-this-name"])
def test_without_a_compiler_it_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch, compiler: str) -> None:
    monkeypatch.setenv("CC", compiler)
    with pytest.raises(build.CompilerMissing, match="is not on PATH"):
        build.compile_library()
    assert list(folder.iterdir()) == [folder / "sign_run.c"]


def test_the_library_asks_for_no_other(folder: Path) -> None:
    """It can be loaded on any Linux of its processor, whatever its C library."""
    library = build.compile_library().read_bytes()
    assert b"GLIBC" not in library
    assert b"libc.so" not in library


def test_other_flags_make_another_library(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that was made with other flags is not used."""
    first = build.compile_library()
    monkeypatch.setattr(build, "FLAGS", (*build.FLAGS, "-g"))
    assert build.compile_library() != first


def test_every_user_may_load_the_library(folder: Path) -> None:
    """Lanes run as other users than the one who installed the package, whose umask may be strict."""
    before = os.umask(0o077)
    try:
        assert build.compile_library().stat().st_mode & 0o777 == 0o755
    finally:
        os.umask(before)


def test_a_library_for_a_folder_that_does_not_exist_is_an_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "FOLDER", folder / "absent")
    with pytest.raises(FileNotFoundError):
        build.compile_library()
