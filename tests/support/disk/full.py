"""A full disk, in place of a function of the operating system."""

from __future__ import annotations

import errno
import os
from typing import NoReturn


def no_space(*_: object, **__: object) -> NoReturn:
    """``ENOSPC``, whatever is asked."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
