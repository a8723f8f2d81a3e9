"""Bytes as a fault or an attacker leaves them: each prefix, and each with one bit flipped."""

from __future__ import annotations

from collections.abc import Iterator


def prefixes(whole: bytes) -> Iterator[bytes]:
    """The bytes cut at each place, the empty prefix first."""
    assert whole, "nothing has no prefix"
    return (whole[:length] for length in range(len(whole)))


def with_one_bit_flipped(whole: bytes) -> Iterator[bytes]:
    """The bytes with one bit flipped, once for each bit."""
    assert whole, "nothing has no bit"
    return (_flipped(whole, place) for place in range(8 * len(whole)))


def _flipped(whole: bytes, place: int) -> bytes:
    changed = bytearray(whole)
    changed[place // 8] ^= 1 << place % 8
    return bytes(changed)
