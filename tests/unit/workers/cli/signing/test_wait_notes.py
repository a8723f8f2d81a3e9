"""Notes while a command hashes or waits."""

from __future__ import annotations

from workers.cli.signing.hashing import HashMeter
from workers.cli.signing.wait_notes import hashing_note


def test_a_large_file_has_a_note_while_it_is_hashed() -> None:
    """With its name, the bytes that are done, and its size where it is known; below 64 MiB there is none."""
    meter = HashMeter()
    assert not hashing_note(meter)
    meter.begin("image.iso", 3_000_000_000)
    meter.add(1_000_000)
    assert not hashing_note(meter)
    meter.add(1_199_000_000)
    assert hashing_note(meter) == "hashing image.iso: 1,200 of 3,000 MB"
    meter.end()
    assert not hashing_note(meter)
    meter.begin("pipe", 0)
    meter.add(64 << 20)
    assert hashing_note(meter) == "hashing pipe: 67 MB"
