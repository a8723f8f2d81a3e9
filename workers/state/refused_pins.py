"""A PIN that a token refused is not tried again, by no lane of the cluster, until it or the operator changes.

What is remembered is a slow keyed hash (scrypt, RFC 7914) with a salt of its own, in a file of mode 0600. Other hosts are
told two bytes of such a hash (``workers.background.refused_pin_sync``): enough to know the PIN by, far too little to find it from.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from queueing.files.durable_file import remove_durably, replace_durably, sync_folder
from queueing.files.folders import entries, is_there

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from queueing.config.secrets import Secret

_SALT_BYTES: Final = 16
_TOLD_BYTES: Final = 2
"""One PIN in 65,536 is taken for the refused one: then an operator resumes the token. Of a PIN of 12 digits 15 million fit."""

_SCRYPT: Final = {"n": 2**14, "r": 8, "p": 1}
"""About 50 ms: once per lane start, and a stolen file does not give a short PIN away at once."""

_HASH_BYTES: Final = _SALT_BYTES + 64  # hashlib.scrypt's own length
_UNWRITTEN: Final = bytes(_HASH_BYTES)
"""What a file says of a refused PIN of which the hash could not be written: it may be any, so none is tried."""

_DRAFT_LASTS_S: Final = 3600.0
"""A draft so old was left by a process that was killed over its login: no login takes as long."""


class RefusedPins:
    """The memory of one state directory: a file for each token whose PIN was refused."""

    def __init__(self, state_dir: Path) -> None:
        self._folder = state_dir / "refused-pins"
        self._told = self._folder / ".told"  # no token is called so
        self._heard = self._folder / ".heard"

    @contextmanager
    def room(self, token: str) -> Iterator[ReservedEntry]:
        """Room on the disk for a refusal, for as long as a login lasts. Raises ``OSError``: then no PIN may be tried.

        A disk that is full when the token has refused the PIN would let the next lane try it again.
        """
        room = ReservedEntry(_draft(self._folder / token), _draft(self._told / token))
        try:
            room.make()
            yield room
        finally:
            room.free()

    def contains(self, token: str, pin: Secret) -> bool:
        """Whether this token refused this very PIN before, here or on another host."""
        own = self._folder / token
        return _is_unwritten(own) or any(_is_of(file, pin) for file in (own, self._heard / token))

    def remember(self, token: str, pin: Secret) -> None:
        """Note that the token refused this PIN; replaces what was noted before."""
        with self.room(token) as room:
            room.remember(pin)

    def is_marked(self, token: str) -> bool:
        """Whether any PIN of this token was refused; says nothing about the present one."""
        return is_there(self._folder / token) or is_there(self._heard / token)

    def forget(self, token: str) -> bool:
        """The operator resumes the token: whether there was anything to forget."""
        marked = self.is_marked(token)
        for folder in (self._folder, self._told, self._heard):
            remove_durably(folder / token)
        return marked

    def to_tell(self) -> dict[str, bytes]:
        """What other hosts should know, by token."""
        return {file.name: file.read_bytes() for file in _files(self._told)}

    def hear(self, warnings: Mapping[str, bytes]) -> None:
        """Replace the warnings of other hosts by these, by token, durably. Raises ``OSError``."""
        for file in _files(self._heard):
            if file.name not in warnings:
                remove_durably(file)
        for token, warning in warnings.items():
            file = self._heard / token
            if len(warning) == _SALT_BYTES + _TOLD_BYTES and not (
                is_there(file) and file.read_bytes() == warning
            ):
                _make_folder(file.parent)
                replace_durably(file, warning)


class ReservedEntry:
    """Two drafts that have their blocks on the disk, and become what is remembered if the PIN is refused.

    They hold zeros until then: a hash of a PIN that is right is never on the disk.
    """

    def __init__(self, own: Path, told: Path) -> None:
        self._own = own
        self._told = told

    def make(self) -> None:
        """Write both drafts, to the disk itself. Raises ``OSError``."""
        for draft, size in ((self._own, _HASH_BYTES), (self._told, _SALT_BYTES + _TOLD_BYTES)):
            _make_folder(draft.parent)
            _sweep(draft)
            _fill(draft, bytes(size), os.O_CREAT | os.O_TRUNC)

    def remember(self, pin: Secret) -> None:
        """The token refused this PIN; replaces what was noted before.

        Should the disk fail even now, any PIN of the token counts as refused. Raises ``OSError`` where not so much as a
        name can be changed any more.
        """
        try:
            _fill(self._own, _hash(os.urandom(_SALT_BYTES), pin))
        except OSError:
            with suppress(OSError):
                _fill(self._own, _UNWRITTEN)
        _take_name(self._own)
        with suppress(OSError):  # the other hosts are not told: each may try it once
            _fill(self._told, _hash(os.urandom(_SALT_BYTES), pin)[: _SALT_BYTES + _TOLD_BYTES])
            _take_name(self._told)

    def free(self) -> None:
        """Let go of what was not needed."""
        for draft in (self._own, self._told):
            with suppress(OSError):  # it is swept up later
                draft.unlink(missing_ok=True)


def _is_of(file: Path, pin: Secret) -> bool:
    try:
        remembered = file.read_bytes()
    except FileNotFoundError:
        return False
    again = _hash(remembered[:_SALT_BYTES], pin)
    return len(remembered) > _SALT_BYTES and hmac.compare_digest(remembered, again[: len(remembered)])


def _is_unwritten(file: Path) -> bool:
    try:
        return file.read_bytes() == _UNWRITTEN
    except FileNotFoundError:
        return False


def _draft(file: Path) -> Path:
    """Of this process: several may log in to a token, and each takes away its own."""
    return file.with_name(f".{file.name}.{os.getpid()}.new")


def _take_name(draft: Path) -> None:
    """Rename the draft to the name that counts, durably; a rename and its sync need no free block of data."""
    draft.replace(draft.with_name(draft.name.removeprefix(".").removesuffix(f".{os.getpid()}.new")))
    sync_folder(draft.parent)


def _make_folder(folder: Path) -> None:
    """Root, who looks at a token before the worker does, must not shut the worker out."""
    if is_there(folder):
        return
    _make_folder(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    if os.geteuid() == 0:
        owner = folder.parent.stat()
        os.chown(folder, owner.st_uid, owner.st_gid)
    sync_folder(folder.parent)


def _sweep(draft: Path) -> None:
    for other in entries(draft.parent, suffix=".new"):
        with suppress(FileNotFoundError):
            if other.name.startswith(".") and other.stat().st_mtime < time.time() - _DRAFT_LASTS_S:
                other.unlink()


def _fill(draft: Path, content: bytes, flags: int = 0) -> None:
    """In place unless ``flags`` say otherwise: blocks that are there are written again, and no new ones needed."""
    descriptor = os.open(draft, os.O_WRONLY | os.O_CLOEXEC | flags, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _files(folder: Path) -> list[Path]:
    return [file for file in entries(folder, missing_ok=True) if not file.name.startswith(".")]


def _hash(salt: bytes, pin: Secret) -> bytes:
    return salt + hashlib.scrypt(pin.reveal().encode(), salt=salt, **_SCRYPT)
