"""Programs that the tests need. A missing one fails the test: a skip would hide it under CI."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


class ToolMissing(RuntimeError):
    """A program or library that ops/bootstrap installs is not there."""


def tool(name: str) -> str:
    """The path of a program on PATH; raises ``ToolMissing`` with the remedy."""
    path = shutil.which(name)
    if path is None:
        raise ToolMissing(f"{name} is not installed: run ops/bootstrap")
    return path


def redis_server() -> str:
    """The server under test: ``SIGMILL_TEST_REDIS_SERVER`` (another version, or Valkey), else redis-server on PATH."""
    return tool(os.environ.get("SIGMILL_TEST_REDIS_SERVER") or "redis-server")


def first_existing(*candidates: str) -> Path:
    """The first of the paths that exists; raises ``ToolMissing`` with the remedy."""
    for candidate in candidates:
        if Path(candidate).exists():
            return Path(candidate)
    raise ToolMissing(f"none of {', '.join(candidates)} exists: run ops/bootstrap")
