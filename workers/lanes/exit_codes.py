"""Exit codes of a lane, by which the worker classifies its exit."""

from __future__ import annotations

from enum import IntEnum


class LaneExit(IntEnum):
    """Exit codes from 70 up: distinct from Python's own (1, 2) and a module's ``exit(5)``."""

    DONE = 0
    REPLACE = 70
    CIRCUIT = 71
    PIN = 72
    CONFIG = 73
