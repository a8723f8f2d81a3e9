"""Key of a command, by which a cluster chooses the node."""

from __future__ import annotations

from typing import Any

import pytest

from queueing.redis.command_keys import key_of


@pytest.mark.parametrize(
    "words, key",
    [
        (("GET", "a"), "a"),
        (("SCRIPT LOAD", "return 1"), None),
        (("EVALSHA", "0" * 40, 2, "a", "b"), "a"),
        (("EVALSHA", "0" * 40, "0"), None),
        (("XREAD", b"BLOCK", "10", b"STREAMS", "a", "0"), "a"),
        (("PUBLISH", "channel", "x"), None),
        (("HSET", b"\xff", "x", "y"), b"\xff"),
    ],
)
def test_the_first_key_of_a_command_is_found(words: tuple[Any, ...], key: str | bytes | None) -> None:
    """None for a command that any node can carry out."""
    assert key_of(words) == key
