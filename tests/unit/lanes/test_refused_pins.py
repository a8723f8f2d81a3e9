"""The memory of refused PINs: exact, per token, and of no use to a thief."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from queueing.secret import Secret
from workers.lanes.refused_pins import RefusedPins

PIN = Secret("739215")


@pytest.fixture
def pins(tmp_path: Path) -> RefusedPins:
    return RefusedPins(tmp_path / "state")


def test_a_refused_pin_is_known_again_by_another_process(pins: RefusedPins, tmp_path: Path) -> None:
    """It stands on the disk."""
    assert not pins.contains("acme", PIN)
    pins.remember("acme", PIN)
    assert RefusedPins(tmp_path / "state").contains("acme", Secret("739215"))
    assert pins.is_marked("acme")


def test_another_pin_may_be_tried(pins: RefusedPins) -> None:
    """The operator has written the right one; the mark of the old one does not stand in its way."""
    pins.remember("acme", PIN)
    assert not pins.contains("acme", Secret("739216"))


def test_tokens_are_apart(pins: RefusedPins) -> None:
    """The same PIN may be right elsewhere."""
    pins.remember("acme", PIN)
    assert not pins.contains("globex", PIN)
    assert not pins.is_marked("globex")


def test_the_last_refusal_counts(pins: RefusedPins) -> None:
    """One PIN per token is remembered."""
    pins.remember("acme", PIN)
    pins.remember("acme", Secret("000000"))
    assert pins.contains("acme", Secret("000000"))


def test_the_operator_can_forget_it(pins: RefusedPins) -> None:
    """Once; the second time there is nothing."""
    pins.remember("acme", PIN)
    assert pins.forget("acme")
    assert not pins.forget("acme")
    assert not pins.contains("acme", PIN)


def test_the_file_does_not_give_the_pin_away(pins: RefusedPins, tmp_path: Path) -> None:
    """Salted, so two tokens with one PIN do not show it, and readable by its owner only."""
    pins.remember("acme", PIN)
    pins.remember("globex", PIN)
    files = [tmp_path / "state" / "refused-pins" / name for name in ("acme", "globex")]
    contents = [file.read_bytes() for file in files]
    assert contents[0] != contents[1]
    assert all(PIN.reveal().encode() not in content for content in contents)
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE(files[0].parent.stat().st_mode) == 0o700


def test_a_damaged_file_is_no_match(pins: RefusedPins, tmp_path: Path) -> None:
    """And no error: the PIN is tried, and remembered anew if it is refused."""
    pins.remember("acme", PIN)
    (tmp_path / "state" / "refused-pins" / "acme").write_bytes(b"")
    assert not pins.contains("acme", PIN)


def test_a_memory_that_cannot_be_written_is_known_before_a_pin_is_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a lane that its host starts again and again would lock the token."""
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        RefusedPins(tmp_path / "file").prepare()
    RefusedPins(tmp_path / "good").prepare()
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(PermissionError):
        RefusedPins(tmp_path / "good").prepare()


def test_another_host_that_is_told_knows_the_pin(pins: RefusedPins, tmp_path: Path) -> None:
    """That very one; with a false alarm in 65,536, never the other way."""
    pins.remember("acme", PIN)
    elsewhere = RefusedPins(tmp_path / "elsewhere")
    elsewhere.hear(pins.to_tell())
    assert elsewhere.contains("acme", PIN)
    assert elsewhere.is_marked("acme")
    assert not elsewhere.contains("globex", PIN)
    assert not elsewhere.to_tell(), "hearsay is not passed on"


def test_what_is_told_fits_many_pins(pins: RefusedPins) -> None:
    """A salt and two bytes: whoever reads Redis cannot find the PIN from it."""
    pins.remember("acme", PIN)
    (warning,) = pins.to_tell().values()
    assert len(warning) == 16 + 2


def test_what_others_no_longer_say_is_forgotten(pins: RefusedPins, tmp_path: Path) -> None:
    """The operator has resumed the token; what this host knows itself stays."""
    elsewhere = RefusedPins(tmp_path / "elsewhere")
    pins.remember("acme", PIN)
    elsewhere.remember("globex", PIN)
    elsewhere.hear(pins.to_tell())
    elsewhere.hear({})
    assert not elsewhere.contains("acme", PIN)
    assert elsewhere.contains("globex", PIN)


@pytest.mark.parametrize("planted", [b"", b"x", bytes(16), bytes(48)])
def test_what_is_no_warning_is_not_heard(pins: RefusedPins, planted: bytes) -> None:
    """Somebody wrote into Redis."""
    pins.hear({"acme": planted})
    assert not pins.is_marked("acme")
