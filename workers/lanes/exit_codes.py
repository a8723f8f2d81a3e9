"""Exit codes of a lane, and the name of a failure, by which the worker classifies its exit."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

LOGIN_TIMED_OUT: Final = "LOGIN_TIMED_OUT"
"""Failure of a lane whose login did not return: it may still run in the HSM, so no other is begun for as long again."""


class LaneExit(IntEnum):
    """Exit codes from 70 up: distinct from Python's own (1, 2) and a module's ``exit(5)``."""

    DONE = 0
    REPLACE = 70
    CIRCUIT = 71
    PIN = 72
    CONFIG = 73
