"""Wall clock of a child process that a test can set ahead or back while it runs, by a preloaded library."""

from __future__ import annotations

import struct
from pathlib import Path

from bench.native.build import SHARED_FLAGS, compile_sources


class SteppedClock:
    """``environment()`` is for the process; ``set_ahead_s`` and ``stop_at_us`` change its clock at once."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = folder / "clock-step"
        self._set(0, 0)
        self._library = compile_sources(
            "clock_step.so", [Path(__file__).parents[2] / "native" / "clock_step.c"], SHARED_FLAGS
        )

    def environment(self) -> dict[str, str]:
        """Additions to the environment of the process."""
        return {"LD_PRELOAD": str(self._library), "CLOCK_STEP_FILE": str(self._file)}

    def set_ahead_s(self, seconds: int) -> None:
        """Set the clock ahead of the real time (behind it, if negative), and let it run."""
        self._set(seconds, 0)

    def stop_at_us(self, unix_us: int) -> None:
        """Let the clock stand still at this time."""
        self._set(0, unix_us)

    def _set(self, ahead_s: int, stopped_us: int) -> None:
        with self._file.open("r+b" if self._file.exists() else "wb") as file:
            file.write(struct.pack("qq", ahead_s, stopped_us))
