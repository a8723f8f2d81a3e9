"""Tokens that tests share: one that a killed lane has left empty is whole again for the next test."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.hsm import tokens
from tests.support.hsm.tokens import Token, TokenShelf
from workers.config.settings import SelectSettings, TokenSettings

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_token_that_was_left_empty_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A whole file is not touched: a lane may be at work on it. What is empty when keys have been made is not kept."""
    file = tmp_path / "acme" / "tokens" / "serial" / "token.object"

    def made(directory: Path, name: str, _: object) -> Token:
        file.parent.mkdir(parents=True)
        file.write_bytes(b"whole")
        settings = TokenSettings(module="/m.so", select=SelectSettings(label=name), login="none")
        return Token(settings=settings, keys={})

    monkeypatch.setattr(tokens, "new_token", made)
    shelf = TokenShelf(tmp_path)
    shelf.get(acme={})
    file.write_bytes(b"")
    shelf.get(acme={})
    assert file.read_bytes() == b"whole"
    file.write_bytes(b"other")
    shelf.get(acme={})
    assert file.read_bytes() == b"other"
    with monkeypatch.context() as killing:
        killing.setattr(tokens, "_make_keys", lambda *_: file.write_bytes(b""))
        shelf.get(acme={})
    shelf.get(acme={})
    assert file.read_bytes() == b"other"
