"""Messages of ``sigmill-gpg``: status lines for the calling program (GnuPG doc/DETAILS), and sentences for people."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from typing import Final

_STATUS_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
_STATUS_MODE: Final = 0o640
"""As gpg's own, less the umask."""

_LOG_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC


@contextlib.contextmanager
def opened_status(target: int | str | None) -> Iterator[int | None]:
    """The descriptor of status lines within the block; None where none are wanted. A file is made, or made empty.

    Raises ``OSError``, before anything is signed: the caller would wait for the lines, and sign again.
    """
    if isinstance(target, str):
        descriptor = os.open(target, _STATUS_FILE, _STATUS_MODE)
        try:
            yield descriptor
        finally:
            os.close(descriptor)
        return
    if target is not None:
        try:
            os.fstat(target)
        except OSError as error:
            raise OSError(error.errno, error.strerror, f"--status-fd {target}") from None
    yield target


def write_status(descriptor: int | None, line: str) -> None:
    """Write a status line. Raises ``OSError``."""
    if descriptor is not None:
        os.write(descriptor, f"[GNUPG:] {line}\n".encode())


def tell(target: int | str | None, sentence: str) -> None:
    """Tell a person: at the descriptor or the end of the file that was asked for, else on stderr."""
    try:
        if isinstance(target, str) and target != "-":
            head = time.strftime(f"%Y-%m-%d %H:%M:%S sigmill-gpg[{os.getpid()}] ")
            descriptor = os.open(target, _LOG_FILE, 0o666)
            with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape") as log:
                log.write(f"{head}{sentence}\n")
        elif isinstance(target, int):
            os.write(target, f"sigmill-gpg: {sentence}\n".encode(errors="surrogateescape"))
        else:
            sys.stderr.write(f"sigmill-gpg: {sentence}\n")
    except OSError:
        sys.stderr.write(f"sigmill-gpg: {sentence}\n")
