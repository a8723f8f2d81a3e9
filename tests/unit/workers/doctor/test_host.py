"""Checks of the host: file descriptors, core files, state directory."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from queueing import ed25519
from workers.doctor.findings import State
from workers.doctor.host import (
    LEAST_FREE_BYTES,
    check_libsodium,
    check_limits,
    check_native_loop,
    check_state_dir,
)
from workers.hsm.native import build, loop

LIMITS = """\
Limit                     Soft Limit           Hard Limit           Units
Max core file size        {core:<20} unlimited            bytes
Max open files            {files:<20} 1048576              files
"""


def limits(files: int | str, core: int | str, *, tokens: int = 4, is_worker: bool = True) -> dict[str, State]:
    text = LIMITS.format(files=files, core=core)
    return {f.check: f.state for f in check_limits("worker 1", text, tokens=tokens, is_worker=is_worker)}


def test_the_number_of_tokens_decides_how_many_descriptors_are_needed() -> None:
    """1,024 descriptors suffice for 4 tokens, not for 1,000; unlimited always suffices."""
    assert limits(1024, 0) == {"limits.nofile": State.OK, "limits.core": State.OK}
    assert limits(1024, 0, tokens=1000)["limits.nofile"] is State.FAIL
    assert limits("unlimited", 0, tokens=1000)["limits.nofile"] is State.OK


def test_core_files_of_a_worker_fail() -> None:
    """Core files of a shell are not checked: it is not the worker."""
    assert limits(1024, "unlimited")["limits.core"] is State.FAIL
    assert "limits.core" not in limits(1024, "unlimited", is_worker=False)


def test_a_missing_state_directory_is_a_warning(tmp_path: Path) -> None:
    """The first worker creates it."""
    assert check_state_dir(tmp_path / "state").state is State.WARNING


@pytest.mark.parametrize("missing_bytes, state", [(0, State.OK), (1, State.FAIL)])
def test_a_state_directory_needs_free_disk_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing_bytes: int, state: State
) -> None:
    """Without space for the write-ahead log nothing is signed."""
    free = SimpleNamespace(free=LEAST_FREE_BYTES - missing_bytes)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    assert check_state_dir(tmp_path).state is state


def test_a_host_without_the_native_loop_is_told_what_it_costs_and_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its lanes sign all the same."""
    monkeypatch.setattr(loop, "library_file", lambda: tmp_path / "sign_run.so")
    finding = check_native_loop()
    assert finding.state is State.WARNING
    assert str(tmp_path / "sign_run.so") in finding.text
    assert "python -m workers.hsm.native.build" in finding.text


def test_a_host_with_the_native_loop_is_well() -> None:
    """The library is there where the checkout was bootstrapped."""
    build.compile_library()
    assert check_native_loop().state is State.OK


def test_a_host_without_libsodium_is_told_what_it_costs_and_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its lanes verify with OpenSSL all the same."""
    assert check_libsodium().state is State.OK
    monkeypatch.setattr(ed25519, "_loaded", [])
    monkeypatch.setattr(ed25519, "_libsodium", lambda: None)
    finding = check_libsodium()
    assert finding.state is State.WARNING
    assert "sigmill[worker]" in finding.text
