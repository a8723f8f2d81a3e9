"""Rejected PINs: recorded exactly, per token, and useless to a thief."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from queueing.config.secrets import Secret
from tests.support.disk.irregular import PUT
from workers.state import refused_pins
from workers.state.refused_pins import RefusedPins

PIN = Secret("739215")
SHIPPED_COST = dict(refused_pins._SCRYPT)


@pytest.fixture(autouse=True)
def cheap_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashes that cost next to nothing: the cost that is shipped has a test of its own."""
    monkeypatch.setattr(refused_pins, "_SCRYPT", {**SHIPPED_COST, "n": 2})


def test_a_guess_of_a_pin_costs_sixteen_mib_of_memory() -> None:
    """128 · n · r bytes (RFC 7914): a thief of the file needs it for each guess."""
    assert 128 * SHIPPED_COST["n"] * SHIPPED_COST["r"] >= 16 * 1024 * 1024


@pytest.fixture
def pins(tmp_path: Path) -> RefusedPins:
    return RefusedPins(tmp_path / "state")


def test_a_refused_pin_is_known_again_by_another_process(pins: RefusedPins, tmp_path: Path) -> None:
    """The record is on disk: another instance recognises the PIN."""
    assert not pins.contains("acme", PIN)
    pins.remember("acme", PIN)
    assert RefusedPins(tmp_path / "state").contains("acme", Secret("739215"))
    assert pins.is_marked("acme")


def test_another_pin_may_be_tried(pins: RefusedPins) -> None:
    """The record of a rejected PIN does not match a corrected one."""
    pins.remember("acme", PIN)
    assert not pins.contains("acme", Secret("739216"))


def test_records_are_per_token(pins: RefusedPins) -> None:
    """A PIN rejected by one token may be tried on another."""
    pins.remember("acme", PIN)
    assert not pins.contains("globex", PIN)
    assert not pins.is_marked("globex")


def test_a_later_rejection_replaces_the_earlier_one(pins: RefusedPins) -> None:
    """Only the PIN rejected last is recognised."""
    pins.remember("acme", PIN)
    pins.remember("acme", Secret("000000"))
    assert pins.contains("acme", Secret("000000"))
    assert not pins.contains("acme", PIN)


def test_the_operator_can_forget_it(pins: RefusedPins) -> None:
    """Forgetting removes the record; a second call reports that there was none."""
    pins.remember("acme", PIN)
    assert pins.forget("acme")
    assert not pins.forget("acme")
    assert not pins.contains("acme", PIN)


def test_the_file_does_not_give_the_pin_away(pins: RefusedPins, tmp_path: Path) -> None:
    """Two records of one PIN differ, contain no PIN, and have mode 0600."""
    pins.remember("acme", PIN)
    pins.remember("globex", PIN)
    files = [tmp_path / "state" / "refused-pins" / name for name in ("acme", "globex")]
    contents = [file.read_bytes() for file in files]
    assert contents[0] != contents[1]
    assert all(PIN.reveal().encode() not in content for content in contents)
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE(files[0].parent.stat().st_mode) == 0o700


def test_a_damaged_file_is_no_match(pins: RefusedPins, tmp_path: Path) -> None:
    """A damaged record matches no PIN and raises no error."""
    pins.remember("acme", PIN)
    (tmp_path / "state" / "refused-pins" / "acme").write_bytes(b"")
    assert not pins.contains("acme", PIN)


def test_another_host_recognises_the_pin_by_its_warning(pins: RefusedPins, tmp_path: Path) -> None:
    """The warning matches the PIN of that token only, and is not passed on to further hosts."""
    pins.remember("acme", PIN)
    elsewhere = RefusedPins(tmp_path / "elsewhere")
    elsewhere.replace_reported(pins.to_report())
    assert elsewhere.contains("acme", PIN)
    assert elsewhere.is_marked("acme")
    assert not elsewhere.contains("globex", PIN)
    assert not elsewhere.to_report(), "warnings of other hosts are not passed on"


def test_a_warning_fits_many_pins(pins: RefusedPins) -> None:
    """A warning is a salt and two bytes: one PIN in 65,536 matches it."""
    pins.remember("acme", PIN)
    (warning,) = pins.to_report().values()
    assert len(warning) == 16 + 2


def test_withdrawn_warnings_are_removed(pins: RefusedPins, tmp_path: Path) -> None:
    """A warning that is no longer published is removed; the host's own records stay."""
    elsewhere = RefusedPins(tmp_path / "elsewhere")
    pins.remember("acme", PIN)
    elsewhere.remember("globex", PIN)
    elsewhere.replace_reported(pins.to_report())
    elsewhere.replace_reported({})
    assert not elsewhere.contains("acme", PIN)
    assert elsewhere.contains("globex", PIN)


@pytest.mark.parametrize("planted", [b"", b"x", bytes(16), bytes(48)])
def test_invalid_warnings_are_ignored(pins: RefusedPins, planted: bytes) -> None:
    """A value of the wrong length in Redis marks no token."""
    pins.replace_reported({"acme": planted})
    assert not pins.is_marked("acme")


@pytest.mark.timeout(10)
@pytest.mark.parametrize("folder", ["", ".heard"])
@pytest.mark.parametrize("put", PUT.values(), ids=PUT.keys())
def test_a_record_that_is_no_record_is_an_error_of_its_token_alone(
    pins: RefusedPins, tmp_path: Path, put: Callable[[Path], None], folder: str
) -> None:
    """Which PIN was refused, here or on another host, is unknown, so none is tried (``pin_attempt``); no login waits for a pipe."""
    pins.remember("globex", PIN)
    place = tmp_path / "state" / "refused-pins" / folder
    place.mkdir(exist_ok=True)
    put(place / "acme")
    with pytest.raises(OSError, match=r"not a regular|Is a dir|larger than"):
        pins.contains("acme", PIN)
    assert pins.contains("globex", PIN)


def test_a_warning_that_is_there_is_not_written_again(pins: RefusedPins, tmp_path: Path) -> None:
    """They are heard each second, and each is written durably."""
    pins.remember("acme", PIN)
    elsewhere = RefusedPins(tmp_path / "elsewhere")
    written = []
    for _ in range(2):
        elsewhere.replace_reported(pins.to_report())
        written.append((tmp_path / "elsewhere" / "refused-pins" / ".heard" / "acme").stat())
    assert os.path.samestat(*written)


@pytest.mark.timeout(10)
def test_a_warning_that_cannot_be_read_costs_no_other_token_its_own(
    pins: RefusedPins, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The worker does not wait for a pipe at its start; the log names it once, not each second."""
    pins.remember("globex", PIN)
    os.mkfifo(tmp_path / "state" / "refused-pins" / ".told" / "acme")
    assert pins.to_report().keys() == {"globex"}
    assert pins.to_report().keys() == {"globex"}
    (record,) = caplog.records
    assert (record.message, "refused-pins/.told/acme" in record.__dict__["why"]) == ("pins.not_told", True)


@pytest.mark.timeout(10)
def test_a_warning_that_cannot_be_stored_costs_no_other_token_its_own(
    pins: RefusedPins, tmp_path: Path
) -> None:
    """The pipe is named, after the warnings of the other tokens are on the disk."""
    pins.remember("acme", PIN)
    (warning,) = pins.to_report().values()
    elsewhere = RefusedPins(tmp_path / "elsewhere")
    heard = tmp_path / "elsewhere" / "refused-pins" / ".heard"
    heard.mkdir(parents=True)
    os.mkfifo(heard / "acme")
    with pytest.raises(OSError, match=r"\.heard/acme"):
        elsewhere.replace_reported({"acme": warning, "globex": warning})
    assert elsewhere.contains("globex", PIN)
