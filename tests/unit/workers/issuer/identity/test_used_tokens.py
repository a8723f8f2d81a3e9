"""Used tokens: the first key has the token, over restarts, until the token ends; nothing is forgotten before."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import pytest

from queueing.errors import ConfigError, IssuerUnavailable
from tests.support.disk.full import no_space
from workers.issuer.identity import used_tokens
from workers.issuer.identity.refusals import Outcome, TokenRefused
from workers.issuer.identity.signed_token import LEEWAY_S, TokenLife
from workers.issuer.identity.used_tokens import RECORD_BYTES, UsedTokens

if TYPE_CHECKING:
    from pathlib import Path

    from workers.subject_shares import Subject

A, B = bytes([1]) * 32, bytes([2]) * 32
OURS, THEIRS = b"our key", b"their key"
HOLDER = ("acme", "github", "repo:acme/app")
QUIET = ("acme", "github", "repo:acme/quiet")
NEIGHBOUR = ("globex", "github", "repo:acme/app")
LATER_S = 101.0 + LEEWAY_S
"""Issue of a token that shows that those which end at 100 have ended."""
HOUR_S = 3600.0


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "used-tokens"


def life(ends_s: float, *, issued_s: float | None = None) -> TokenLife:
    """Times of a token that lives 100 s unless its issue is said."""
    return TokenLife(ends_s - 100.0 if issued_s is None else issued_s, ends_s)


def test_a_token_belongs_to_the_first_key(file: Path) -> None:
    """The same key may use it again, another one may not."""
    used = UsedTokens(file)
    used.bind(A, OURS, HOLDER, life=life(100.0), now_s=1.0)
    used.bind(A, OURS, HOLDER, life=life(100.0), now_s=2.0)
    with pytest.raises(TokenRefused) as caught:
        used.bind(A, THEIRS, HOLDER, life=life(100.0), now_s=3.0)
    assert caught.value.outcome is Outcome.REPLAYED
    used.bind(B, THEIRS, HOLDER, life=life(100.0), now_s=4.0)


def test_it_does_so_after_a_restart(file: Path) -> None:
    """The register is read from the disk."""
    UsedTokens(file).bind(A, OURS, HOLDER, life=life(100.0), now_s=1.0)
    with pytest.raises(TokenRefused):
        UsedTokens(file).bind(A, THEIRS, HOLDER, life=life(100.0), now_s=50.0)


def test_a_token_that_has_ended_is_forgotten(file: Path) -> None:
    """It verifies no more, and takes no room."""
    used = UsedTokens(file, most=1)
    used.bind(A, OURS, HOLDER, life=life(100.0), now_s=1.0)
    used.bind(B, OURS, HOLDER, life=life(300.0, issued_s=LATER_S), now_s=LATER_S)
    assert len(used) == 1


def test_a_record_that_was_cut_off_is_the_last_one(file: Path) -> None:
    """A crash while it was written leaves a part, whose grant was never signed; the next record is whole."""
    used = UsedTokens(file)
    used.bind(A, OURS, HOLDER, life=life(100.0), now_s=1.0)
    used.bind(B, OURS, HOLDER, life=life(100.0), now_s=1.0)
    os.truncate(file, 2 * RECORD_BYTES - 3)
    again = UsedTokens(file)
    assert len(again) == 1
    again.bind(B, THEIRS, HOLDER, life=life(100.0), now_s=2.0)
    assert len(UsedTokens(file)) == 2


@pytest.mark.parametrize("position", range(0, RECORD_BYTES, 7))
def test_a_damaged_record_stops_the_start(file: Path, position: int) -> None:
    """A register that may have lost a token gives no grants until an operator has seen it, who is told how long tokens may live."""
    used = UsedTokens(file)
    used.bind(A, OURS, HOLDER, life=life(100.0), now_s=1.0)
    used.bind(B, OURS, HOLDER, life=life(100.0), now_s=1.0)
    raw = bytearray(file.read_bytes())
    raw[position] ^= 1
    file.write_bytes(raw)
    with pytest.raises(ConfigError, match="byte 0 is damaged") as refused:
        UsedTokens(file)
    assert "the longest `max_token_s`" in refused.value.remedy


def test_a_full_register_waits_rather_than_that_it_forgets(file: Path) -> None:
    """A new token is sent away with a time; one that ends makes room."""
    used = UsedTokens(file, most=1)
    used.bind(A, OURS, HOLDER, life=life(100.0), now_s=1.0)
    with pytest.raises(IssuerUnavailable) as caught:
        used.bind(B, OURS, HOLDER, life=life(200.0), now_s=50.0)
    assert caught.value.retry_after_s == 60.0
    used.bind(B, OURS, HOLDER, life=life(300.0, issued_s=LATER_S), now_s=LATER_S)
    assert len(used) == 1


def use_id(number: int) -> bytes:
    return number.to_bytes(32, "big")


def taken(
    used: UsedTokens, holder: Subject, first: int, *, now_s: float = 1.0, of: TokenLife | None = None
) -> int:
    """Tokens of this holder that the register takes, from this number on, with these times."""
    count = 0
    with contextlib.suppress(IssuerUnavailable):
        while True:
            used.bind(use_id(first + count), OURS, holder, life=of or life(100.0), now_s=now_s)
            count += 1
    return count


def test_the_tokens_of_one_subject_leave_room_for_those_of_others(file: Path) -> None:
    """A build that asks its provider for ever more tokens makes only itself wait, until they end."""
    used = UsedTokens(file, most=64)
    assert taken(used, HOLDER, 0) == 36, "three quarters of the 48 that its tenant may have"
    assert taken(used, QUIET, 100) == 9
    assert taken(used, NEIGHBOUR, 200) == 12, "as much of the 19 that are left"
    used.bind(
        use_id(0), OURS, HOLDER, life=life(100.0), now_s=2.0
    )  # a token that is known needs no further place
    with pytest.raises(TokenRefused):
        used.bind(use_id(0), THEIRS, NEIGHBOUR, life=life(100.0), now_s=2.0)
    later = life(300.0, issued_s=LATER_S)
    assert taken(used, HOLDER, 300, now_s=LATER_S, of=later) == 36, "those that ended make room"


def test_the_tokens_of_a_former_process_leave_a_share_of_the_rest_to_each(file: Path) -> None:
    """The file does not say whose they are."""
    taken(UsedTokens(file, most=64), HOLDER, 0)
    used = UsedTokens(file, most=64)
    assert len(used) == 36
    assert taken(used, HOLDER, 100) == 16
    assert taken(used, NEIGHBOUR, 200) >= 1


def test_a_full_register_is_searched_once_in_a_second(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often its holder comes, and where the clock is set back: each search looks at all tokens."""
    used = UsedTokens(file, most=64)
    searches: list[float] = []
    forget = used._forget_ended

    def searched(now_s: float) -> None:
        searches.append(now_s)
        forget(now_s)

    monkeypatch.setattr(used, "_forget_ended", searched)
    of = life(300.0, issued_s=200.0)
    taken(used, HOLDER, 0, of=of)
    for now_s in (1.0, 1.5, 2.0, 2.9, 3.0, 0.5, 0.9):
        assert not taken(used, HOLDER, 100, now_s=now_s, of=of)
    assert searches == [1.0, 2.0, 3.0, 0.5]


def test_a_disk_that_fails_refuses_and_recovers(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that could not be recorded is not used; what a failed write left does not stay."""
    used = UsedTokens(file)
    used.bind(A, OURS, HOLDER, life=life(100.0), now_s=1.0)

    with monkeypatch.context() as disk:
        disk.setattr("os.fdatasync", no_space)
        with pytest.raises(IssuerUnavailable, match="No space left"):
            used.bind(B, OURS, HOLDER, life=life(100.0), now_s=1.0)
    used.bind(B, THEIRS, HOLDER, life=life(100.0), now_s=2.0)
    assert file.stat().st_size == 2 * RECORD_BYTES
    assert len(UsedTokens(file)) == 2


def test_a_long_life_keeps_the_file_small(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records of ended tokens are dropped when they are the larger part."""
    monkeypatch.setattr(used_tokens, "_COMPACT_AT_LEAST", 8)
    used = UsedTokens(file)
    for number in range(400):
        of = life(number + 1.0, issued_s=float(number))
        used.bind(use_id(number + 1), OURS, HOLDER, life=of, now_s=float(number))
    lasting = 62 + 1  # a life of 1 s, the leeway, and the record of what was forgotten
    assert file.stat().st_size <= 2 * lasting * RECORD_BYTES


def test_a_clock_that_is_ahead_at_the_start_forgets_nothing(file: Path) -> None:
    """Set right, it would have a token that was used taken for a new one."""
    UsedTokens(file).bind(A, OURS, HOLDER, life=life(100.0), now_s=1.0)
    ahead = UsedTokens(file, most=2)
    ahead.bind(B, OURS, HOLDER, life=life(102.0), now_s=1.0 + HOUR_S)
    with pytest.raises(TokenRefused) as caught:
        UsedTokens(file).bind(A, THEIRS, HOLDER, life=life(100.0), now_s=3.0)
    assert caught.value.outcome is Outcome.REPLAYED


def test_a_clock_that_jumps_ahead_forgets_nothing(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither where places are wanted nor where the file is rewritten: new tokens say that theirs is the time before."""
    monkeypatch.setattr(used_tokens, "_COMPACT_AT_LEAST", 1)
    used = UsedTokens(file, most=2)
    used.bind(A, OURS, HOLDER, life=life(100.0), now_s=1.0)
    used.bind(B, OURS, NEIGHBOUR, life=life(102.0), now_s=1.0 + HOUR_S)
    with pytest.raises(IssuerUnavailable):
        used.bind(use_id(3), OURS, NEIGHBOUR, life=life(103.0), now_s=2.0 + HOUR_S)
    for register in (used, UsedTokens(file)):
        with pytest.raises(TokenRefused) as caught:
            register.bind(A, THEIRS, HOLDER, life=life(100.0), now_s=3.0)
        assert caught.value.outcome is Outcome.REPLAYED


def test_what_was_forgotten_is_not_taken_again_whatever_the_clocks_were(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also over a restart, where the provider's clock was ahead as this host's was; longer ones are taken."""
    monkeypatch.setattr(used_tokens, "_COMPACT_AT_LEAST", 1)
    used = UsedTokens(file, most=4)
    used.bind(A, OURS, HOLDER, life=life(100.0), now_s=1.0)
    used.bind(B, OURS, HOLDER, life=life(100.0 + HOUR_S), now_s=HOUR_S)
    assert len(used) == 1
    for register in (used, UsedTokens(file)):
        with pytest.raises(TokenRefused) as caught:
            register.bind(A, THEIRS, HOLDER, life=life(100.0), now_s=3.0)
        assert caught.value.outcome is Outcome.TIME
    used.bind(use_id(3), OURS, NEIGHBOUR, life=life(101.0), now_s=3.0)


def test_restarts_do_not_let_the_file_grow(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each start keeps all of it, and the first new token has what ended go."""
    monkeypatch.setattr(used_tokens, "_COMPACT_AT_LEAST", 8)
    for start in range(12):
        used = UsedTokens(file, most=16)
        begins_s = start * HOUR_S
        for number in range(1, 5):
            of = life(begins_s + 100.0)
            used.bind(use_id(start * 16 + number), OURS, HOLDER, life=of, now_s=begins_s)
    assert file.stat().st_size <= 2 * 8 * RECORD_BYTES
