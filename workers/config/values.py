"""Single values of the configuration files, read strictly, and the list of the errors found so far.

Each wrong value is a ``ConfigError`` that names its file and key path.
"""

from __future__ import annotations

import base64
import binascii
from datetime import UTC
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from cryptography.exceptions import UnsupportedAlgorithm

from queueing.config.toml import convert, nearest
from queueing.errors import ConfigError, SigningError
from queueing.protocol.client_keys import ClientPublicKey
from queueing.protocol.names import Name
from queueing.protocol.public_keys import PublicKey
from queueing.unix_time import in_unix_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from datetime import datetime
    from pathlib import Path

T = TypeVar("T")


class ErrorList:
    """Errors found so far, in the order of reading: a wrong table does not hide the errors of the next one."""

    def __init__(self) -> None:
        self.all: list[ConfigError] = []

    def collect(self, read: Callable[[], T]) -> T | None:
        """The value that ``read`` returns; None where it raises ``ConfigError``, which is added."""
        try:
            return read()
        except ConfigError as error:
            self.all.append(error)
            return None

    def collect_each(self, tables: Mapping[str, object], read: Callable[[str, object], T]) -> dict[str, T]:
        """Values of the tables that are valid, by name; the errors of the others are added."""
        values: dict[str, T] = {}
        for name, table in tables.items():
            try:
                values[name] = read(name, table)
            except ConfigError as error:
                self.all.append(error)
        return values

    def add_unknown(self, file: Path, tables: Mapping[str, object], known: Collection[str]) -> None:
        """Add an error for each key of ``tables`` that is not among ``known``."""
        for name in sorted(tables):
            self.collect(partial(refuse_unknown, file, {name: None}, known))

    def first(self) -> ConfigError:
        """The first error; there must be one."""
        return self.all[0]


def expect_table(file: Path, path: str, value: object) -> dict[str, Any]:
    """Return ``value`` if it is a table."""
    if not isinstance(value, dict):
        raise ConfigError(str(file), path, "is not a table", f"Write [{path}].")
    return value


def expect_name(file: Path, path: str, name: str) -> str:
    """Return ``name`` if it is valid in Redis keys, labels, file names and logs."""
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
    """Signing key of a token, from a base64 SPKI."""
    try:
        return PublicKey.from_spki(base64_bytes(file, path, text))
    except (SigningError, ValueError):
        raise ConfigError(
            str(file),
            path,
            "is not a public key of a supported kind",
            "Paste the SPKI that `sigmill keys show` prints.",
        ) from None


def signer_key(file: Path, path: str, text: str, remedy: str) -> ClientPublicKey:
    """Public key of a client or an operator, from a base64 SPKI."""
    try:
        return ClientPublicKey.from_spki(base64_bytes(file, path, text))
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError(str(file), path, "is not an Ed25519 or ECDSA P-256 public key", remedy) from None


def base64_bytes(file: Path, path: str, text: str) -> bytes:
    """Decode a base64 text."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ConfigError(str(file), path, "is not base64", "Paste it on one line, without spaces.") from None


def unix_ms(file: Path, path: str, moment: datetime) -> int:
    """Unix time in ms of a time with its time zone."""
    if moment.tzinfo is None:
        raise ConfigError(str(file), path, "has no time zone", "Add a Z for UTC: 2027-11-23T00:00:00Z.")
    try:
        in_utc = moment.astimezone(UTC)
    except OverflowError:
        raise ConfigError(
            str(file), path, "is in no year from 1 to 9999 of UTC", "Write an earlier time, with a Z for UTC."
        ) from None
    return in_unix_ms(in_utc)


def refuse_unknown(file: Path, tables: dict[str, Any], known: Collection[str]) -> None:
    """Raise for the first key of ``tables`` that is not in ``known``, and suggest the nearest known one."""
    for name in sorted(tables.keys() - set(known)):
        raise ConfigError(str(file), name, "this key is not known", nearest(name, known))


def tables_below(file: Path, tables: dict[str, Any], name: str, errors: ErrorList) -> dict[str, Any]:
    """Tables below ``[name]``; empty where it is not a table."""
    return errors.collect(lambda: expect_table(file, name, tables.get(name, {}))) or {}
