"""Standard streams of a process that was started with some of them closed."""

from __future__ import annotations

import os
import sys


def open_standard_streams() -> None:
    """Open the null device as each of stdin, stdout and stderr that is closed.

    Else the next file that is opened, a segment of the log or a connection, would have its descriptor, and take what libraries and
    children print. A closed stdin is empty; a closed stdout fails when it is written, as a full one does; what goes to a closed stderr is
    dropped. To be called first: a descriptor that another file has by then stays as it is.
    """
    for descriptor, flags in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, flags), True)  # the lowest that is free, so this one
    if sys.stdin is None:
        sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, encoding="utf-8", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False)
