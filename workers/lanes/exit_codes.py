"""Why a lane ended, by its exit code; the worker decides by it what to do next."""

from __future__ import annotations

from enum import IntEnum


class LaneExit(IntEnum):
    """70 and up: apart from Python's own (1, 2) and a module's ``exit(5)``."""

    DONE = 0
    REPLACE = 70
    CIRCUIT = 71
    PIN = 72
    CONFIG = 73
