"""SHA-256 of the regular files below some directories, in a fixed order: the input of the demonstration."""

from __future__ import annotations

import hashlib
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_BATCH: Final = 512


def regular_files(roots: Iterable[Path]) -> Iterator[Path]:
    """Every regular file below the roots, sorted within each directory; symbolic links are not followed."""
    for root in roots:
        for folder, folders, names in os.walk(root):
            folders.sort()
            for name in sorted(names):
                path = Path(folder, name)
                if _is_regular(path):
                    yield path


def sha256_of_files(roots: Iterable[Path], most: int) -> list[bytes]:
    """Digests of the first ``most`` readable files, hashed in threads (hashlib releases the GIL)."""
    digests: list[bytes] = []
    files = regular_files(roots)
    with ThreadPoolExecutor() as pool:
        while len(digests) < most and (batch := list(islice(files, min(_BATCH, most - len(digests))))):
            digests += filter(None, pool.map(_sha256, batch))
    return digests


def _is_regular(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def _sha256(path: Path) -> bytes | None:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").digest()
    except OSError:
        return None
