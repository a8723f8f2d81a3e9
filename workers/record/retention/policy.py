"""Retention policy: how long entries are kept, in a file that the worker writes and the sealer reads (``sealer/retention``).

The sealer reads no configuration. Without this file it removes nothing. Ends of certificates are only ever added or put off: an
entry is kept for the certificate that its key once had, also after the key has left the configuration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from queueing.files.checked_file import read_checked, write_checked
from queueing.files.durable_file import make_folder

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LEAST_DAYS: Final = 730
"""Two years (CSBR 5.4.3): a policy of less is not read."""

DAY_MS: Final = 86_400_000
_FILE_NAME: Final = "retention"


class PolicyDamaged(Exception):
    """The file has ends of certificates that no other file has, and they cannot be read."""


class RetentionPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """``retain_days``: how long entries are kept, from their time or from the end of their key's certificate.

    ``certificate_ends_ms``: by SHA-256 of a public key (SubjectPublicKeyInfo), the last end of its certificates, in Unix ms.
    """

    retain_days: Annotated[float, msgspec.Meta(ge=LEAST_DAYS)]
    certificate_ends_ms: dict[bytes, int] = {}

    @property
    def retain_ms(self) -> int:
        """``retain_days`` in milliseconds."""
        return int(self.retain_days * DAY_MS)


def read_policy(sealer: Path) -> RetentionPolicy | None:
    """The policy in the sealer's folder; None where there is none that can be read. Raises ``OSError``."""
    try:
        return _read(sealer)
    except PolicyDamaged:
        return None


def _read(sealer: Path) -> RetentionPolicy | None:
    try:
        raw = read_checked(sealer / _FILE_NAME)
        return msgspec.msgpack.decode(raw, type=RetentionPolicy)
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError):  # msgspec's errors are ValueErrors
        raise PolicyDamaged(
            f"{sealer / _FILE_NAME} is damaged, and with it the ends of certificates of keys that are in no configuration any"
            " more: nothing of the record is removed; restore the file, or remove it to forget them"
        ) from None


def adopt_policy(sealer: Path, retain_days: float, ends_ms: Mapping[bytes, int]) -> RetentionPolicy:
    """Keep this retention, and the ends of certificates beside those that are known. Raises ``OSError``, or ``PolicyDamaged``."""
    before = _read(sealer)
    ends = {} if before is None else dict(before.certificate_ends_ms)
    for key, end_ms in ends_ms.items():
        ends[key] = max(end_ms, ends.get(key, 0))
    policy = RetentionPolicy(retain_days=retain_days, certificate_ends_ms=ends)
    if policy != before:
        make_folder(sealer)
        write_checked(sealer / _FILE_NAME, msgspec.msgpack.encode(policy))
    return policy
