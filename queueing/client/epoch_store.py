"""The newest directory epoch that this client has seen, kept over restarts: an older directory is refused."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from pathlib import Path

import msgspec

_log = logging.getLogger("sigmill.client")


class _Memory(msgspec.Struct, frozen=True):
    audience: str
    tenant: str
    epoch: int


class EpochStore:
    """A small JSON file, written whole and best effort: many clients may share it, a lost write costs little."""

    def __init__(self, path: Path | None, *, audience: str, tenant: str) -> None:
        self._path = path
        self._audience = audience
        self._tenant = tenant
        self.newest = self._read()

    def remember(self, epoch: int) -> None:
        """Keep this epoch unless a newer one is known. Blocks for one small write."""
        if epoch <= self.newest:
            return
        self.newest = max(epoch, self._read())
        if self._path is None:
            return
        body = msgspec.json.encode(_Memory(self._audience, self._tenant, self.newest))
        try:
            _write_whole(self._path, body)
        except OSError as error:
            _log.warning("the newest key directory epoch is not kept: %s: %s", self._path, error.strerror)

    def _read(self) -> int:
        if self._path is None:
            return 0
        try:
            memory = msgspec.json.decode(self._path.read_bytes(), type=_Memory)
        except FileNotFoundError:
            return 0
        except (OSError, msgspec.MsgspecError):
            _log.warning("%s cannot be read: any key directory epoch is taken", self._path)
            return 0
        same = (memory.audience, memory.tenant) == (self._audience, self._tenant)
        return memory.epoch if same else 0


def _write_whole(path: Path, body: bytes) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(body)
        Path(name).replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
