"""Damaged bytes for tests: all of them, else a test of each would look at none."""

from __future__ import annotations

from tests.support.damage.changed_bytes import prefixes, with_one_bit_flipped

WHOLE = b"\x00\xffa"


def test_the_prefixes_are_all_but_the_whole() -> None:
    assert list(prefixes(WHOLE)) == [b"", b"\x00", b"\x00\xff"]


def test_each_bit_is_flipped_once() -> None:
    """As one number: the flipped bits are those of its length, each alone."""
    number = int.from_bytes(WHOLE)
    flipped = [number ^ int.from_bytes(changed) for changed in with_one_bit_flipped(WHOLE)]
    assert sorted(flipped) == [1 << bit for bit in range(8 * len(WHOLE))]
