"""Small files that begin with the SHA-256 of their content: one flipped bit would change what they decide without notice."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Final

from queueing.files.durable_file import replace_durably
from queueing.files.regular_file import read_whole

if TYPE_CHECKING:
    from pathlib import Path

_HASH_BYTES: Final = 32


def write_checked(path: Path, content: bytes) -> None:
    """Replace the file, durably. Raises ``OSError``."""
    replace_durably(path, hashlib.sha256(content).digest() + content)


def read_checked(path: Path) -> bytes:
    """Content of the file. Raises ``ValueError`` where it is not the one that was hashed, or ``OSError``, also of what is no regular file."""
    data = read_whole(path)
    content = data[_HASH_BYTES:]
    if not hmac.compare_digest(hashlib.sha256(content).digest(), data[:_HASH_BYTES]):
        raise ValueError("the content is not the one that was hashed")
    return content
