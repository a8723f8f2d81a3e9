"""Progress line, on a terminal only: ``1204/5000 signed  812/s  ETA 5 s  2 failed``."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from typing import Final, TextIO

from workers.cli.shell.output import printable

_REDRAW_S: Final = 0.2


class Progress:
    """Counts of finished and failed items, redrawn at most five times a second. ``total`` None: unknown.

    ``done``: word for what is finished.
    """

    def __init__(
        self,
        total: int | None,
        *,
        done: str = "signed",
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._total = total
        self._done = done
        self._stream = sys.stderr if stream is None else stream
        self.visible = self._stream.isatty()
        self._clock = clock
        self._started_s = clock()
        self._drawn_s = 0.0
        self._width = 0
        self._counted_s = self._started_s
        self._note = ""
        self.signed = 0
        self.failed = 0

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._started_s

    @property
    def idle_s(self) -> float:
        """Seconds since the last finished item, or since the start."""
        return self._clock() - self._counted_s

    def show(self, note: str) -> None:
        """Redraw the line with this note at its end, cut to the width of the terminal."""
        self._note = note
        if self.visible:
            self._draw()

    def count(self, items: int = 1, *, ok: bool) -> None:
        """Count finished items."""
        if ok:
            self.signed += items
        else:
            self.failed += items
        self._counted_s, self._note = self._clock(), ""
        if self.visible and self._clock() - self._drawn_s >= _REDRAW_S:
            self._draw()

    def clear(self) -> None:
        """Erase the progress line before other output is printed."""
        if self.visible and self._width:
            self._write("\r" + " " * self._width + "\r")
            self._width = 0

    def text(self) -> str:
        """Text of the progress line."""
        elapsed_s = max(self._clock() - self._started_s, 1e-9)
        rate = (self.signed + self.failed) / elapsed_s
        of_total = f"{self.signed}/{self._total}" if self._total is not None else str(self.signed)
        parts = [f"{of_total} {self._done}", f"{rate:.0f}/s"]
        if self._total is not None and rate > 0:
            left = self._total - self.signed - self.failed
            parts.append(f"ETA {_readable(left / rate)}")
        if self.failed:
            parts.append(f"{self.failed} failed")
        if self._note:
            parts.append(self._note)
        return "  ".join(parts)

    def _draw(self) -> None:
        text = printable(self.text())[: shutil.get_terminal_size().columns - 1]
        self._write("\r" + text.ljust(self._width))
        self._width = len(text)
        self._drawn_s = self._clock()

    def _write(self, text: str) -> None:
        """Write to the terminal. One that has gone (its window was closed) ends the line, not the work."""
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            self.visible = False


def _readable(seconds: float) -> str:
    whole = round(seconds)
    if whole < 90:  # below this, seconds are easier to read than minutes
        return f"{whole} s"
    if whole < 5400:
        return f"{round(whole / 60)} min"
    return f"{whole / 3600:.1f} h"
