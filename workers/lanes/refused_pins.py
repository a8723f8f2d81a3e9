"""A PIN that a token refused is not tried again, by no lane of the cluster, until it or the operator changes.

What is remembered is a slow keyed hash (scrypt, RFC 7914) with a salt of its own, in a file of mode 0600. Other hosts are
told two bytes of such a hash (``workers.pin_warnings``): enough to know the PIN by, far too little to find it from.
"""

from __future__ import annotations

import errno
import hashlib
import hmac
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from queueing.secret import Secret

_SALT_BYTES: Final = 16
_TOLD_BYTES: Final = 2
"""One PIN in 65,536 is taken for the refused one: then an operator resumes the token. Of a PIN of 12 digits 15 million fit."""

_SCRYPT: Final = {"n": 2**14, "r": 8, "p": 1}
"""About 50 ms: once per lane start, and a stolen file does not give a short PIN away at once."""


class RefusedPins:
    """The memory of one state directory: a file for each token whose PIN was refused."""

    def __init__(self, state_dir: Path) -> None:
        self._folder = state_dir / "refused-pins"
        self._told = self._folder / ".told"  # no token is called so
        self._heard = self._folder / ".heard"

    def prepare(self) -> None:
        """Make sure that a refusal could be remembered; ``OSError`` when it could not: then no PIN may be tried."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(self._folder, os.R_OK | os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self._folder))

    def contains(self, token: str, pin: Secret) -> bool:
        """Whether this token refused this very PIN before, here or on another host."""
        return any(_is_of(file, pin) for file in (self._folder / token, self._heard / token))

    def remember(self, token: str, pin: Secret) -> None:
        """Note that the token refused this PIN; replaces what was noted before."""
        _write(self._folder / token, _hash(os.urandom(_SALT_BYTES), pin))
        _write(self._told / token, _hash(os.urandom(_SALT_BYTES), pin)[: _SALT_BYTES + _TOLD_BYTES])

    def is_marked(self, token: str) -> bool:
        """Whether any PIN of this token was refused; says nothing about the present one."""
        return (self._folder / token).exists() or (self._heard / token).exists()

    def forget(self, token: str) -> bool:
        """The operator resumes the token: whether there was anything to forget."""
        marked = self.is_marked(token)
        for folder in (self._folder, self._told, self._heard):
            (folder / token).unlink(missing_ok=True)
        return marked

    def to_tell(self) -> dict[str, bytes]:
        """What other hosts should know, by token."""
        return {file.name: file.read_bytes() for file in _files(self._told)}

    def hear(self, warnings: Mapping[str, bytes]) -> None:
        """What other hosts know, by token; replaces what was heard before. Raises ``OSError``."""
        for file in _files(self._heard):
            if file.name not in warnings:
                file.unlink(missing_ok=True)
        for token, warning in warnings.items():
            file = self._heard / token
            if len(warning) == _SALT_BYTES + _TOLD_BYTES and not (
                file.exists() and file.read_bytes() == warning
            ):
                _write(file, warning)


def _is_of(file: Path, pin: Secret) -> bool:
    try:
        remembered = file.read_bytes()
    except FileNotFoundError:
        return False
    again = _hash(remembered[:_SALT_BYTES], pin)
    return len(remembered) > _SALT_BYTES and hmac.compare_digest(remembered, again[: len(remembered)])


def _write(file: Path, content: bytes) -> None:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(file)


def _files(folder: Path) -> list[Path]:
    return [file for file in folder.glob("*") if not file.name.startswith(".")]


def _hash(salt: bytes, pin: Secret) -> bytes:
    return salt + hashlib.scrypt(pin.reveal().encode(), salt=salt, **_SCRYPT)
