"""Register of used tokens: each belongs to the first key that used it, until it ends, also over restarts.

A file of records of one length, appended to and synced before a grant is signed::

    SHA-256 of the token's identity (32) | SHA-256 of the key (32) | Unix time at which it ends (8) | CRC-32 of these (4)

A record with zeros in place of both digests has the latest end of a token that was forgotten: one that ends no later is not taken,
because it may be that one. A clock that is wrong therefore has no used token taken again.

Only tokens that a rule has allowed are recorded, so a stranger cannot fill it; when it is full, grants wait rather than that a
token is forgotten. A build may ask its provider for any number of tokens: each tenant and each subject has a share of the places.
The file does not name them: tokens of a former process take places, and count for no tenant.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import struct
import zlib
from typing import TYPE_CHECKING, Final, NamedTuple

from queueing.errors import ConfigError, IssuerUnavailable
from queueing.files.durable_file import replace_durably
from queueing.files.regular_file import read_regular, regular_descriptor
from workers.issuer.identity.refusals import Outcome, TokenRefused
from workers.issuer.identity.signed_token import LEEWAY_S
from workers.subject_shares import SubjectShares

if TYPE_CHECKING:
    from pathlib import Path

    from workers.issuer.identity.signed_token import TokenLife
    from workers.subject_shares import Subject

_RECORD: Final = struct.Struct(">32s32sQ")
_CRC: Final = struct.Struct(">I")
RECORD_BYTES: Final = _RECORD.size + _CRC.size

MOST_TOKENS: Final = 200_000
"""Tokens that have not ended: about 60 MB of memory, and twice as much until the first new token after a start. A farm of 10,000
builds an hour with tokens of an hour has 10,000."""

_FORGET_S: Final = 1.0
"""Time between two searches for tokens that have ended: each looks at all."""

_FORMER: Final = ("", "", "")
"""Holder of the tokens of a former process."""

_FORGOTTEN: Final = bytes(32)
"""In place of both digests, in the record of the latest end that was forgotten."""

_COMPACT_AT_LEAST: Final = 4096
"""Records below which the file is not worth a rewrite; then it is rewritten when it has doubled."""


class _Used(NamedTuple):
    """Use of a token: SHA-256 of its key, Unix time of its end, and whose it is."""

    key_sha256: bytes
    ends_s: int
    holder: Subject


class UsedTokens:
    """Used tokens in memory and in ``file``, which one process has. Not for use by several threads."""

    def __init__(self, file: Path, *, most: int = MOST_TOKENS) -> None:
        self._file = file
        self._most = most
        self._tokens: dict[bytes, _Used] = {}
        self._shares = SubjectShares(most)
        self._searched_s = -math.inf
        self._forgotten_end_s = 0
        self._records = 0
        self._compact_at = 0
        self._whole = False
        self._read()
        try:
            self._rewrite()
        except OSError as error:
            raise self._damaged(error.strerror or str(error)) from None
        # With the first new token, which shows what has ended.
        self._compact_at = max(_COMPACT_AT_LEAST, self._records)

    def __len__(self) -> int:
        return len(self._tokens)

    def bind(
        self, use_id: bytes, public_key: bytes, holder: Subject, *, life: TokenLife, now_s: float
    ) -> None:
        """Give the token to the key, durably, unless it has it already.

        ``use_id``: 32 bytes, those of ``VerifiedIdentity``. ``holder``: tenant, provider and subject. Raises ``TokenRefused`` where
        another key has the token, or may have had it, and ``IssuerUnavailable`` (retryable) where the register has no place for the
        holder, or cannot be written. One fdatasync for a new token.
        """
        key_sha256 = hashlib.sha256(public_key).digest()
        known = self._tokens.get(use_id)
        if known is not None:
            if known.key_sha256 == key_sha256:
                return
            raise TokenRefused(
                Outcome.REPLAYED,
                "the token was used before with another key",
                hint="A token serves one run of the client: ask the provider for one for each. If this build used it once, it was stolen.",
            )
        used = _Used(key_sha256, int(life.ends_s) + 1, holder)
        if used.ends_s <= self._forgotten_end_s:
            raise TokenRefused(
                Outcome.TIME,
                "the token ends before a used one that has ended: a clock was wrong, and it cannot be told whether it was used",
                hint="Ask the provider for a new token, and compare the clocks of the provider and the issuer's host.",
            )
        passed_s = min(now_s, life.issued_s - LEEWAY_S)
        if not self._shares.may_take(holder) and abs(now_s - self._searched_s) >= _FORGET_S:
            self._searched_s = now_s
            self._forget_ended(passed_s)
        if not self._shares.may_take(holder):
            raise IssuerUnavailable(
                "too many tokens of this subject or tenant are in use"
                if len(self._tokens) < self._most
                else f"{self._most} tokens are in use, and no more are taken",
                retry_after_s=60.0,
            )
        self._append(use_id, used)
        if self._records > self._compact_at:
            self._forget_ended(passed_s)
            with contextlib.suppress(OSError):  # the token is recorded; the next one tries again
                self._rewrite()

    def _append(self, use_id: bytes, used: _Used) -> None:
        try:
            if not self._whole:
                self._rewrite()
            self._whole = False  # until the record is on disk in full
            descriptor = regular_descriptor(self._file, os.O_WRONLY | os.O_APPEND)
            try:
                written = os.write(descriptor, _encode(use_id, used))
                os.fdatasync(descriptor)
            finally:
                os.close(descriptor)
            self._whole = written == RECORD_BYTES
        except OSError as error:
            why = error.strerror or str(error)
            raise IssuerUnavailable(
                f"the register of used tokens cannot be written ({why})", retry_after_s=10.0
            ) from None
        if not self._whole:
            raise IssuerUnavailable("the register of used tokens was written in part", retry_after_s=10.0)
        self._keep(use_id, used)
        self._records += 1

    def _keep(self, use_id: bytes, used: _Used) -> None:
        before = self._tokens.get(use_id)
        if before is not None:
            self._shares.give_back(before.holder)
        self._shares.take(used.holder)
        self._tokens[use_id] = used

    def _forget_ended(self, passed_s: float) -> None:
        """Forget what ended before ``passed_s``: a time that has passed by the host's clock and by that of a provider."""
        for use_id, used in [each for each in self._tokens.items() if each[1].ends_s <= passed_s]:
            del self._tokens[use_id]
            self._shares.give_back(used.holder)
            self._forgotten_end_s = max(self._forgotten_end_s, used.ends_s)

    def _read(self) -> None:
        """Read the whole file: what has ended is not known yet. A record that was cut off by a crash is the last one: its grant was never signed."""
        try:
            raw = read_regular(self._file, largest_bytes=4 * self._most * RECORD_BYTES)
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._damaged(error.strerror or str(error)) from None
        for start in range(0, len(raw) - RECORD_BYTES + 1, RECORD_BYTES):
            body = raw[start : start + _RECORD.size]
            (crc,) = _CRC.unpack_from(raw, start + _RECORD.size)
            if zlib.crc32(body) != crc:
                raise self._damaged(f"the record at byte {start} is damaged")
            use_id, key_sha256, ends_s = _RECORD.unpack(body)
            if use_id == key_sha256 == _FORGOTTEN:
                self._forgotten_end_s = max(self._forgotten_end_s, ends_s)
            else:
                self._keep(use_id, _Used(key_sha256, ends_s, _FORMER))

    def _rewrite(self) -> None:
        """Replace the file by one with the tokens in memory. Raises ``OSError``."""
        records = [_encode(use_id, used) for use_id, used in self._tokens.items()]
        if self._forgotten_end_s:
            records.append(_encode(_FORGOTTEN, _Used(_FORGOTTEN, self._forgotten_end_s, _FORMER)))
        replace_durably(self._file, b"".join(records))
        self._records = len(records)
        self._compact_at = max(_COMPACT_AT_LEAST, 2 * min(self._records, self._most))
        self._whole = True

    def _damaged(self, why: str) -> ConfigError:
        return ConfigError(
            str(self._file),
            "",
            f"the register of used tokens cannot be used: {why}",
            "Repair the disk or the rights. Move a damaged file away only when the tokens in use have ended: after the longest `max_token_s`, and a minute.",
        )


def _encode(use_id: bytes, used: _Used) -> bytes:
    body = _RECORD.pack(use_id, used.key_sha256, used.ends_s)
    return body + _CRC.pack(zlib.crc32(body))
