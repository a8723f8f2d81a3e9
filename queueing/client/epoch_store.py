"""Rollback protection: the newest key directory epoch that this client has seen, kept over restarts."""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec

from queueing.files.durable_file import replace_durably

_log = logging.getLogger("sigmill.client")


class _Stored(msgspec.Struct, frozen=True):
    audience: str
    tenant: str
    epoch: int


class EpochStore:
    """A small JSON file, replaced durably: after a power cut an older directory is still refused.

    Many clients may share the file. A write that fails is logged; this process goes on with what it has in memory.
    """

    def __init__(self, path: Path | None, *, audience: str, tenant: str) -> None:
        self._path = path
        self._audience = audience
        self._tenant = tenant
        self.newest = self._read()

    def remember(self, epoch: int) -> None:
        """Keep this epoch unless a newer one is known. Blocks for a small write and two fsyncs."""
        if epoch <= self.newest:
            return
        self.newest = max(epoch, self._read())
        if self._path is None:
            return
        body = msgspec.json.encode(_Stored(self._audience, self._tenant, self.newest))
        try:
            replace_durably(self._path, body)
        except OSError as error:
            _log.warning("cannot store the newest key directory epoch: %s: %s", self._path, error.strerror)

    def _read(self) -> int:
        if self._path is None:
            return 0
        try:
            stored = msgspec.json.decode(self._path.read_bytes(), type=_Stored)
        except FileNotFoundError:
            return 0
        except (OSError, msgspec.MsgspecError):
            _log.warning("cannot read %s: a key directory of any epoch will be accepted", self._path)
            return 0
        same = (stored.audience, stored.tenant) == (self._audience, self._tenant)
        return stored.epoch if same else 0
