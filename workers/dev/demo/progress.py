"""Progress of the demonstration: one redrawn line on a terminal, a line every five seconds elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable

TICK_S: Final = 0.25
_LOG_INTERVAL_S: Final = 5.0


class Progress:
    """Count, rate and estimated time left, on standard error."""

    def __init__(
        self, total: int, stream: TextIO = sys.stderr, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._total = total
        self._stream = stream
        self._clock = clock
        self._started = clock()
        self._shown: float | None = None
        self._terminal = stream.isatty()

    def show(self, done: int, *, last: bool = False) -> None:
        """Print the line if the interval has passed; with ``last`` in any case."""
        now = self._clock()
        interval_s = TICK_S if self._terminal else _LOG_INTERVAL_S
        if not last and self._shown is not None and now - self._shown < interval_s:
            return
        self._shown = now
        line = self._line(done, now - self._started)
        if self._terminal:
            self._stream.write(f"\r\x1b[K{line}" + ("\n" if last else ""))
        else:
            self._stream.write(f"{line}\n")
        self._stream.flush()

    def _line(self, done: int, elapsed_s: float) -> str:
        share = done / self._total if self._total else 1.0
        rate = done / elapsed_s if elapsed_s else 0.0
        rest = f"ETA {(self._total - done) / rate:.0f} s" if rate else "ETA unknown"
        return f"signed {done:,} of {self._total:,} ({share:.0%})  {rate:,.0f}/s  {rest}"
