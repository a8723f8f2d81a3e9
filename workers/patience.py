"""Word on a terminal about a wait: what a command waits for, once that takes longer than a person expects."""

from __future__ import annotations

import contextlib
import sys
import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE_S: Final = 3.0


@contextlib.contextmanager
def telling(wait: str) -> Iterator[None]:
    """Print ``waiting`` with this object on stderr, if that is a terminal and the block takes longer than ``PATIENCE_S``."""
    if not sys.stderr.isatty():
        yield
        return
    timer = threading.Timer(PATIENCE_S, _tell, (wait,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _tell(wait: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # the terminal has gone, the wait has not
        sys.stderr.write(f"waiting for {wait}\n")
        sys.stderr.flush()
