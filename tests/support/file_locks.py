"""Locks on files, as another process would find them."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


def is_locked(file: Path) -> bool:
    """Whether a process that came now would wait for the lock of this file, which is made where it is missing."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def login_lock(state_dir: Path) -> Path:
    """Lock of acme's logins."""
    return state_dir / "lane-login.acme.lock"
