"""A PIN that a token refused is not tried again, by no lane on this host, until it or the operator changes.

What is remembered is a slow keyed hash (scrypt, RFC 7914) with a salt of its own, in a file of mode 0600.
"""

from __future__ import annotations

import errno
import hashlib
import hmac
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

    from queueing.secret import Secret

_SALT_BYTES: Final = 16
_SCRYPT: Final = {"n": 2**14, "r": 8, "p": 1}
"""About 50 ms: once per lane start, and a stolen file does not give a short PIN away at once."""


class RefusedPins:
    """The memory of one state directory: a file for each token whose PIN was refused."""

    def __init__(self, state_dir: Path) -> None:
        self._folder = state_dir / "refused-pins"

    def prepare(self) -> None:
        """Make sure that a refusal could be remembered; ``OSError`` when it could not: then no PIN may be tried."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(self._folder, os.R_OK | os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self._folder))

    def contains(self, token: str, pin: Secret) -> bool:
        """Whether this token refused this very PIN before."""
        try:
            remembered = self._file(token).read_bytes()
        except FileNotFoundError:
            return False
        return hmac.compare_digest(remembered, _hash(remembered[:_SALT_BYTES], pin))

    def remember(self, token: str, pin: Secret) -> None:
        """Note that the token refused this PIN; replaces what was noted before."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = self._file(token).with_suffix(".new")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(_hash(os.urandom(_SALT_BYTES), pin))
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(self._file(token))

    def is_marked(self, token: str) -> bool:
        """Whether any PIN of this token was refused; says nothing about the present one."""
        return self._file(token).exists()

    def forget(self, token: str) -> bool:
        """The operator resumes the token: whether there was anything to forget."""
        try:
            self._file(token).unlink()
        except FileNotFoundError:
            return False
        return True

    def _file(self, token: str) -> Path:
        return self._folder / token


def _hash(salt: bytes, pin: Secret) -> bytes:
    return salt + hashlib.scrypt(pin.reveal().encode(), salt=salt, **_SCRYPT)
