"""Used tokens: the first key has the token, over restarts, until the token ends; nothing is forgotten before."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from queueing.errors import ConfigError, IssuerUnavailable
from tests.support.disk.full import no_space
from workers.issuer.identity import used_tokens
from workers.issuer.identity.refusals import Outcome, TokenRefused
from workers.issuer.identity.used_tokens import RECORD_BYTES, UsedTokens

if TYPE_CHECKING:
    from pathlib import Path

A, B = bytes([1]) * 32, bytes([2]) * 32
OURS, THEIRS = b"our key", b"their key"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "used-tokens"


def test_a_token_belongs_to_the_first_key(file: Path) -> None:
    """The same key may use it again, another one may not."""
    used = UsedTokens(file, 0.0)
    used.bind(A, OURS, ends_s=100.0, now_s=1.0)
    used.bind(A, OURS, ends_s=100.0, now_s=2.0)
    with pytest.raises(TokenRefused) as caught:
        used.bind(A, THEIRS, ends_s=100.0, now_s=3.0)
    assert caught.value.outcome is Outcome.REPLAYED
    used.bind(B, THEIRS, ends_s=100.0, now_s=4.0)


def test_it_does_so_after_a_restart(file: Path) -> None:
    """The register is read from the disk."""
    UsedTokens(file, 0.0).bind(A, OURS, ends_s=100.0, now_s=1.0)
    with pytest.raises(TokenRefused):
        UsedTokens(file, 50.0).bind(A, THEIRS, ends_s=100.0, now_s=50.0)


def test_a_token_that_has_ended_is_forgotten(file: Path) -> None:
    """It verifies no more, and takes no room."""
    UsedTokens(file, 0.0).bind(A, OURS, ends_s=100.0, now_s=1.0)
    assert len(UsedTokens(file, 101.5)) == 0
    assert file.stat().st_size == 0


def test_a_record_that_was_cut_off_is_the_last_one(file: Path) -> None:
    """A crash while it was written leaves a part, whose grant was never signed; the next record is whole."""
    used = UsedTokens(file, 0.0)
    used.bind(A, OURS, ends_s=100.0, now_s=1.0)
    used.bind(B, OURS, ends_s=100.0, now_s=1.0)
    os.truncate(file, 2 * RECORD_BYTES - 3)
    again = UsedTokens(file, 2.0)
    assert len(again) == 1
    again.bind(B, THEIRS, ends_s=100.0, now_s=2.0)
    assert len(UsedTokens(file, 3.0)) == 2


@pytest.mark.parametrize("position", range(0, RECORD_BYTES, 7))
def test_a_damaged_record_stops_the_start(file: Path, position: int) -> None:
    """A register that may have lost a token gives no grants until an operator has seen it."""
    used = UsedTokens(file, 0.0)
    used.bind(A, OURS, ends_s=100.0, now_s=1.0)
    used.bind(B, OURS, ends_s=100.0, now_s=1.0)
    raw = bytearray(file.read_bytes())
    raw[position] ^= 1
    file.write_bytes(raw)
    with pytest.raises(ConfigError, match="byte 0 is damaged"):
        UsedTokens(file, 2.0)


def test_a_full_register_waits_rather_than_that_it_forgets(file: Path) -> None:
    """A new token is sent away with a time; one that ends makes room."""
    used = UsedTokens(file, 0.0, most=1)
    used.bind(A, OURS, ends_s=100.0, now_s=1.0)
    with pytest.raises(IssuerUnavailable) as caught:
        used.bind(B, OURS, ends_s=200.0, now_s=50.0)
    assert caught.value.retry_after_s == 60.0
    used.bind(B, OURS, ends_s=200.0, now_s=102.0)
    assert len(used) == 1


def test_a_disk_that_fails_refuses_and_recovers(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that could not be recorded is not used; what a failed write left does not stay."""
    used = UsedTokens(file, 0.0)
    used.bind(A, OURS, ends_s=100.0, now_s=1.0)

    with monkeypatch.context() as disk:
        disk.setattr("os.fdatasync", no_space)
        with pytest.raises(IssuerUnavailable, match="No space left"):
            used.bind(B, OURS, ends_s=100.0, now_s=1.0)
    used.bind(B, THEIRS, ends_s=100.0, now_s=2.0)
    assert file.stat().st_size == 2 * RECORD_BYTES
    assert len(UsedTokens(file, 3.0)) == 2


def test_a_long_life_keeps_the_file_small(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records of ended tokens are dropped when they are the larger part."""
    monkeypatch.setattr(used_tokens, "_COMPACT_AT_LEAST", 8)
    used = UsedTokens(file, 0.0)
    for number in range(40):
        used.bind(number.to_bytes(32, "big"), OURS, ends_s=number + 1.0, now_s=float(number))
    assert file.stat().st_size <= 10 * RECORD_BYTES
