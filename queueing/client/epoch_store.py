"""Rollback protection: the newest key directory epoch that this client has seen, kept over restarts."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

import msgspec

from queueing.files.durable_file import replace_durably
from queueing.files.regular_file import read_regular

_log = logging.getLogger("sigmill.client")

_LARGEST_BYTES: Final = 4096
"""A name of 63 characters, an audience of 128, and a number."""


class _Stored(msgspec.Struct, frozen=True):
    audience: str
    tenant: str
    epoch: int


class EpochStore:
    """A small JSON file, replaced durably: after a power cut an older directory is still refused.

    Many clients may share the file. A write that fails is logged; this process continues with the epochs in memory.
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
            raw = read_regular(self._path, largest_bytes=_LARGEST_BYTES)
            stored = msgspec.json.decode(raw, type=_Stored)
        except FileNotFoundError:
            return 0
        except (OSError, ValueError, RecursionError):  # ValueError: not JSON, not UTF-8, of other fields
            _log.warning("cannot read %s: a key directory of any epoch will be accepted", self._path)
            return 0
        same = (stored.audience, stored.tenant) == (self._audience, self._tenant)
        return stored.epoch if same else 0
