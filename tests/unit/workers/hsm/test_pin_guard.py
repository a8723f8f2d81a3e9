"""Guard of a login: a PIN is tried once, and only while its refusal could be recorded."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from pathlib import Path

import pytest

from queueing.config.secrets import Secret
from tests.support.file_locks import is_locked
from workers.hsm.faults import Action, HsmFailure
from workers.hsm.pin_guard import guarded_login, pin_attempt
from workers.state import refused_pins
from workers.state.refused_pins import RefusedPins

PIN = Secret("739215")


@pytest.fixture(autouse=True)
def cheap_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashes that cost next to nothing: test_refused_pins.py tests the cost that is shipped."""
    monkeypatch.setattr(refused_pins, "_SCRYPT", {**refused_pins._SCRYPT, "n": 2})


@pytest.fixture
def pins(tmp_path: Path) -> RefusedPins:
    return RefusedPins(tmp_path / "state")


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def attempt(pins: RefusedPins, failure: HsmFailure | None) -> HsmFailure | None:
    """One login that fails with ``failure`` or succeeds; returns the failure."""
    try:
        with pin_attempt(pins, "acme", PIN):
            tried.append("acme")
            if failure is not None:
                raise failure
    except HsmFailure as caught:
        return caught
    return None


tried: list[str] = []
REFUSED = HsmFailure("CKR_PIN_INCORRECT", 0xA0, Action.OPEN_CIRCUIT, pin_failure=True)


@pytest.fixture(autouse=True)
def nothing_tried() -> None:
    tried.clear()


def files_in(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.rglob("*") if file.is_file())


def test_no_pin_is_tried_on_a_disk_that_is_full(
    pins: RefusedPins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The login fails with PIN_MEMORY_UNUSABLE, leaves no files, and works again on a disk with free space."""
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        failure = attempt(pins, REFUSED)
    assert failure is not None
    assert (failure.code_name, failure.pin_failure, tried) == ("PIN_MEMORY_UNUSABLE", False, [])
    assert not files_in(tmp_path)
    assert attempt(pins, None) is None, "the disk has free space again"


def test_no_pin_is_tried_without_a_writable_state_directory(tmp_path: Path) -> None:
    """A state directory that cannot be created fails the login with PIN_MEMORY_UNUSABLE."""
    (tmp_path / "file").touch()
    failure = attempt(RefusedPins(tmp_path / "file"), None)
    assert failure is not None
    assert (failure.code_name, tried) == ("PIN_MEMORY_UNUSABLE", [])


@pytest.mark.parametrize("broken", [False, True])
def test_a_refused_pin_is_tried_once(
    pins: RefusedPins, monkeypatch: pytest.MonkeyPatch, broken: bool
) -> None:
    """The next login is refused; if the disk failed during the first one, with any PIN of the token."""

    def refused() -> HsmFailure | None:
        with monkeypatch.context() as patched, pin_attempt(pins, "acme", PIN):
            tried.append("acme")
            if broken:
                patched.setattr(os, "fsync", full)
                patched.setattr(refused_pins, "_fill", full)
            raise REFUSED

    with pytest.raises(HsmFailure) as caught:
        refused()
    assert caught.value is REFUSED, "what the token said is not hidden"
    again = attempt(pins, None)
    assert again is not None
    assert (again.code_name, again.pin_failure, tried) == ("PIN_REFUSED_BEFORE", True, ["acme"])
    assert pins.contains("acme", Secret("another")) is broken
    assert bool(pins.to_report()) is not broken
    assert pins.forget("acme")
    assert attempt(pins, None) is None


def test_a_right_pin_leaves_nothing_behind(pins: RefusedPins, tmp_path: Path) -> None:
    """During the login its files hold only zeros; after it they are removed."""
    with pin_attempt(pins, "acme", PIN):
        drafts = [file for file in tmp_path.rglob("*") if file.is_file()]
        assert {file.read_bytes().strip(b"\0") for file in drafts} == {b""}
        assert {file.stat().st_size for file in drafts} == {80, 18}
        assert not pins.is_marked("acme")
        assert not pins.to_report()
    assert not files_in(tmp_path)


def test_another_failure_is_no_refusal(pins: RefusedPins, tmp_path: Path) -> None:
    """A removed device leaves no record of its PIN."""
    away = HsmFailure("CKR_DEVICE_REMOVED", 0x32, Action.OPEN_CIRCUIT)
    assert attempt(pins, away) is away
    assert not files_in(tmp_path)


def test_drafts_of_killed_logins_are_removed_after_an_hour(pins: RefusedPins, tmp_path: Path) -> None:
    """A draft older than an hour is removed by the next login, a younger one stays."""
    folder = tmp_path / "state" / "refused-pins"
    folder.mkdir(parents=True)
    for name, age_s in ((".acme.1.new", 4000), (".globex.2.new", 10)):
        (folder / name).touch()
        then = time.time() - age_s
        os.utime(folder / name, (then, then))
    assert attempt(pins, None) is None
    assert files_in(folder) == [".globex.2.new"]


def test_two_processes_of_a_host_do_not_log_in_to_a_token_at_once(tmp_path: Path) -> None:
    """The second one knows what the first recorded, and tries no PIN that was refused."""
    with contextlib.suppress(HsmFailure), guarded_login(tmp_path, "acme", PIN):
        assert is_locked(tmp_path / "lane-login.acme.lock")
        assert not is_locked(tmp_path / "lane-login.globex.lock")
        raise HsmFailure("CKR_PIN_INCORRECT", 0xA0, Action.OPEN_CIRCUIT, pin_failure=True)
    assert not is_locked(tmp_path / "lane-login.acme.lock")
    with pytest.raises(HsmFailure, match="PIN_REFUSED_BEFORE"), guarded_login(tmp_path, "acme", PIN):
        raise AssertionError("the PIN would be tried again")


def test_a_login_without_a_pin_needs_no_record(tmp_path: Path) -> None:
    """A token without a login, or whose device asks for the PIN, works without a state directory."""
    (tmp_path / "file").touch()
    with pytest.raises(HsmFailure) as caught, pin_attempt(RefusedPins(tmp_path / "file"), "acme", None):
        raise REFUSED
    assert caught.value is REFUSED
    assert files_in(tmp_path) == ["file"]
