"""Garbage collection of Sigmill's own processes."""

from __future__ import annotations

import gc
from typing import Final

COLLECT_AFTER: Final = 20_000
"""New objects after which the youngest are looked through; Python's own 700 is for small programs. Hardly anything here is a cycle, so
a collection finds next to nothing, and each one looks through all jobs that are under way: a fifth of the CPU of a client that
sends single digests (bench/README.md, "What was tried"). 20,000 objects are some 2 MB.
"""


def collect_less_often() -> None:
    """Collect after ``COLLECT_AFTER`` new objects. For the start of a process, before its imports; never called by a library."""
    gc.set_threshold(COLLECT_AFTER, 10, 10)
