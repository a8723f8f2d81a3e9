"""PINs that a token refused: no lane of this host tries one again until its file changes or an operator resumes.

A file of mode 0600 holds a slow hash of the PIN (scrypt, RFC 7914) with its own salt. Other hosts receive two bytes of
another such hash (``workers.background.refused_pin_sync``): enough to recognise the PIN, too little to find it.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from queueing.files.durable_file import make_folder, remove_durably, replace_durably, sync_folder
from queueing.files.folders import entries, is_there
from queueing.files.regular_file import read_regular, regular_descriptor

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from queueing.config.secrets import Secret

log = logging.getLogger("sigmill.pins")

_SALT_BYTES: Final = 16
_TOLD_BYTES: Final = 2
"""One PIN in 65,536 is mistaken for the refused one; an operator then resumes the token. 15 million 12-digit PINs fit."""

_SCRYPT: Final = {"n": 2**14, "r": 8, "p": 1}
"""About 50 ms, once per lane start; it slows down guessing a short PIN from a stolen file."""

_HASH_BYTES: Final = _SALT_BYTES + 64  # hashlib.scrypt's own length
_UNWRITTEN: Final = bytes(_HASH_BYTES)
"""Content of a file whose hash could not be written: the refused PIN is unknown, so none is tried."""

_DRAFT_LASTS_S: Final = 3600.0
"""An older draft was left by a killed process: no login takes that long."""


class RefusedPins:
    """Rejected PINs in one state directory: a file for each token."""

    def __init__(self, state_dir: Path) -> None:
        self._folder = state_dir / "refused-pins"
        self._told = self._folder / ".told"  # no name of a token begins with a dot
        self._heard = self._folder / ".heard"
        self._unreadable: set[str] = set()

    @contextmanager
    def reserved_entry(self, token: str) -> Iterator[ReservedEntry]:
        """Reserve disk space for a rejection while a login lasts. Raises ``OSError``: then no PIN may be tried.

        If the disk were full when the token rejects the PIN, the next lane would try it again.
        """
        entry = ReservedEntry(_draft(self._folder / token), _draft(self._told / token))
        try:
            entry.reserve()
            yield entry
        finally:
            entry.discard()

    def contains(self, token: str, pin: Secret) -> bool:
        """Whether this token refused this PIN before, here or on another host.

        Raises ``OSError`` where a record cannot be read, is no regular file, or is longer than any: what was refused is unknown then.
        """
        own = self._folder / token
        return _is_content(own, _UNWRITTEN) or any(_is_of(file, pin) for file in (own, self._heard / token))

    def remember(self, token: str, pin: Secret) -> None:
        """Record that the token refused this PIN; replaces an earlier record."""
        with self.reserved_entry(token) as entry:
            entry.remember(pin)

    def is_marked(self, token: str) -> bool:
        """Whether any PIN of this token was refused, not necessarily the current one."""
        return is_there(self._folder / token) or is_there(self._heard / token)

    def forget(self, token: str) -> bool:
        """Remove the records of a token, durably; whether there were any. Raises ``OSError``."""
        marked = self.is_marked(token)
        for folder in (self._folder, self._told, self._heard):
            remove_durably(folder / token)
        return marked

    def to_report(self) -> dict[str, bytes]:
        """Warnings for other hosts, by token. One that cannot be read is logged once and left out: those of other tokens are told."""
        warnings: dict[str, bytes] = {}
        unreadable: set[str] = set()
        for file in _files(self._told):
            try:
                warnings[file.name] = read_regular(file, largest_bytes=_SALT_BYTES + _TOLD_BYTES)
            except OSError as error:
                unreadable.add(str(error))
        for why in sorted(unreadable - self._unreadable):
            log.error("pins.not_told", extra={"why": why})
        self._unreadable = unreadable
        return warnings

    def replace_reported(self, warnings: Mapping[str, bytes]) -> None:
        """Replace the warnings of other hosts by these, by token, durably. Raises the last ``OSError``, after all were tried."""
        failed: OSError | None = None
        for name in sorted({file.name for file in _files(self._heard)} | warnings.keys()):
            try:
                self._hear(self._heard / name, warnings.get(name))
            except OSError as error:
                failed = error
        if failed is not None:
            raise failed

    def _hear(self, file: Path, warning: bytes | None) -> None:
        if warning is None:
            remove_durably(file)
        elif len(warning) == _SALT_BYTES + _TOLD_BYTES and not _is_content(file, warning):
            make_folder(file.parent)
            replace_durably(file, warning)


class ReservedEntry:
    """Two drafts whose blocks are on disk, and which become the record when the token rejects the PIN.

    They hold zeros until then: no hash of a correct PIN is ever on disk.
    """

    def __init__(self, own: Path, told: Path) -> None:
        self._own = own
        self._told = told

    def reserve(self) -> None:
        """Write and sync both drafts. Raises ``OSError``."""
        for draft, size in ((self._own, _HASH_BYTES), (self._told, _SALT_BYTES + _TOLD_BYTES)):
            make_folder(draft.parent)
            _sweep(draft)
            _fill(draft, bytes(size), os.O_CREAT | os.O_TRUNC)

    def remember(self, pin: Secret) -> None:
        """Record durably that the token refused this PIN; replaces an earlier record.

        If the disk fails to write the hash, every PIN of the token counts as refused. Raises ``OSError`` where even the
        rename fails.
        """
        try:
            _fill(self._own, _hash(os.urandom(_SALT_BYTES), pin))
        except OSError:
            with suppress(OSError):
                _fill(self._own, _UNWRITTEN)
        _take_name(self._own)
        with suppress(OSError):  # without the warning each other host may try the PIN once
            _fill(self._told, _hash(os.urandom(_SALT_BYTES), pin)[: _SALT_BYTES + _TOLD_BYTES])
            _take_name(self._told)

    def discard(self) -> None:
        """Remove the drafts that were not used."""
        for draft in (self._own, self._told):
            with suppress(OSError):  # it is removed by a later login
                draft.unlink(missing_ok=True)


def _is_of(file: Path, pin: Secret) -> bool:
    try:
        remembered = read_regular(file, largest_bytes=_HASH_BYTES)
    except FileNotFoundError:
        return False
    again = _hash(remembered[:_SALT_BYTES], pin)
    return len(remembered) > _SALT_BYTES and hmac.compare_digest(remembered, again[: len(remembered)])


def _is_content(file: Path, content: bytes) -> bool:
    try:
        return read_regular(file, largest_bytes=_HASH_BYTES) == content
    except FileNotFoundError:
        return False


def _draft(file: Path) -> Path:
    """Draft of this process: several processes may log in to a token at the same time."""
    return file.with_name(f".{file.name}.{os.getpid()}.new")


def _take_name(draft: Path) -> None:
    """Rename the draft to the name that counts, durably; a rename and its sync need no free block of data."""
    draft.replace(draft.with_name(draft.name.removeprefix(".").removesuffix(f".{os.getpid()}.new")))
    sync_folder(draft.parent)


def _sweep(draft: Path) -> None:
    for other in entries(draft.parent, suffix=".new"):
        with suppress(FileNotFoundError):
            if other.name.startswith(".") and other.stat().st_mtime < time.time() - _DRAFT_LASTS_S:
                other.unlink()


def _fill(draft: Path, content: bytes, flags: int = 0) -> None:
    """Write and sync the draft; without ``flags`` in place, which needs no new blocks."""
    descriptor = regular_descriptor(draft, os.O_WRONLY | flags)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _files(folder: Path) -> list[Path]:
    return [file for file in entries(folder, missing_ok=True) if not file.name.startswith(".")]


def _hash(salt: bytes, pin: Secret) -> bytes:
    return salt + hashlib.scrypt(pin.reveal().encode(), salt=salt, **_SCRYPT)
