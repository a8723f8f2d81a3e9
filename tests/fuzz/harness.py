"""Fuzzer of one boundary, in a process of its own: atheris (libFuzzer), guided by the branches of our code.

    python -m tests.fuzz.harness BOUNDARY CORPUS [-max_total_time=60 …]

All further arguments are libFuzzer's. It ends with an error at the first input that a boundary does not bear.
"""

from __future__ import annotations

import importlib
import logging
import sys
from typing import Any

PACKAGES = ["queueing", "workers"]


def main(boundary: str, words: list[str]) -> None:
    """Fuzz until the time is over; does not return."""
    atheris: Any = importlib.import_module("atheris")
    logging.getLogger("sigmill").addHandler(logging.NullHandler())
    logging.getLogger("sigmill").propagate = False
    with atheris.instrument_imports(include=PACKAGES):
        from tests.fuzz.boundaries import BOUNDARIES
    atheris.Setup([sys.argv[0], *words], BOUNDARIES[boundary].read)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
