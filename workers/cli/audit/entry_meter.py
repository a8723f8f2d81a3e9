"""Progress of a verification by entries."""

from __future__ import annotations

from typing import TextIO

from workers.cli.shell.progress import Progress


class EntryMeter:
    """``Meter`` of a verification that shows a progress line, on a terminal only."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream
        self._progress: Progress | None = None

    def begin(self, entries: int) -> None:
        """Begin a meter of ``entries`` to be verified."""
        self._progress = Progress(entries, done="entries", stream=self._stream)

    def verified(self, entries: int) -> None:
        """Count ``entries`` more as verified."""
        if self._progress is not None:
            self._progress.count(entries, ok=True)

    def clear(self) -> None:
        """Erase the line before other output is printed."""
        if self._progress is not None:
            self._progress.clear()
