"""Folders in folders, more of them than Python has frames of its stack for."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

DEEP = 1100


@contextlib.contextmanager
def nested_folders(folder: Path) -> Iterator[None]:
    """Make ``DEEP`` folders ``d`` in each other below this one, and remove them one by one: ``shutil`` cannot."""
    with contextlib.chdir(folder):
        for _ in range(DEEP):
            os.mkdir("d")  # noqa: PTH102 - as the next call
            os.chdir("d")
    try:
        yield
    finally:
        with contextlib.chdir(folder):
            for _ in range(DEEP):
                os.chdir("d")
            for _ in range(DEEP):
                os.chdir("..")
                os.rmdir("d")  # noqa: PTH106 - as the call before
