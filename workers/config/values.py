"""Single values of the configuration files, read strictly: each mistake is a ``ConfigError`` at its place."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import UnsupportedAlgorithm

from queueing.config.toml import convert, nearest
from queueing.errors import ConfigError, SigningError
from queueing.protocol.client_keys import ClientPublicKey
from queueing.protocol.names import Name
from queueing.protocol.public_keys import PublicKey

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime
    from pathlib import Path


def expect_table(file: Path, path: str, value: object) -> dict[str, Any]:
    """``value`` if it is a table."""
    if not isinstance(value, dict):
        raise ConfigError(str(file), path, "is not a table", f"Write [{path}].")
    return value


def expect_name(file: Path, path: str, name: str) -> str:
    """``name`` if it may stand in keys, labels, files and logs."""
    try:
        return convert(file, path, name, Name)
    except ConfigError:
        raise ConfigError(
            str(file),
            path,
            f"`{name}` is not a name",
            "Use 1 to 63 of a-z, 0-9, `.`, `_`, `-`, beginning and ending with a letter or digit.",
        ) from None


def public_key(file: Path, path: str, text: str) -> PublicKey:
    """The public key in a base64 SPKI."""
    try:
        return PublicKey.from_spki(base64_bytes(file, path, text))
    except (SigningError, ValueError):
        raise ConfigError(
            str(file),
            path,
            "is no public key of a supported kind",
            "Paste the SPKI that `sigmill keys show` prints.",
        ) from None


def signer_key(file: Path, path: str, text: str, remedy: str) -> ClientPublicKey:
    """The public key of a client or an operator in a base64 SPKI."""
    try:
        return ClientPublicKey.from_spki(base64_bytes(file, path, text))
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError(str(file), path, "is no Ed25519 or ECDSA P-256 public key", remedy) from None


def base64_bytes(file: Path, path: str, text: str) -> bytes:
    """The bytes of a base64 text."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ConfigError(str(file), path, "is not base64", "Paste it on one line, without spaces.") from None


def unix_ms(file: Path, path: str, moment: datetime) -> int:
    """A moment with its time zone, in Unix ms."""
    if moment.tzinfo is None:
        raise ConfigError(str(file), path, "has no time zone", "Write it with a Z: 2027-11-23T00:00:00Z.")
    return int(moment.timestamp() * 1000)


def refuse_unknown(file: Path, tables: dict[str, Any], known: Collection[str]) -> None:
    """Raise for the first key of ``tables`` that is not among ``known``, with the nearest that is."""
    for name in sorted(tables.keys() - set(known)):
        raise ConfigError(str(file), name, "this key is not known", nearest(name, known))
