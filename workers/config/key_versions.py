"""Versions of a key in a tenant's file: public key, tokens, dates and certificates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from queueing.errors import ConfigError
from queueing.files.regular_file import read_regular
from workers.config.tenants import KeyVersion
from workers.config.values import public_key, unix_ms
from workers.pki.chain_reading import LARGEST_BYTES, read_chain
from workers.pki.chains import ChainInvalid

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime
    from pathlib import Path

    from queueing.protocol.public_keys import PublicKey
    from workers.config.settings import KeyVersionSettings


def read_version(
    file: Path, path: str, key: str, settings: KeyVersionSettings, tokens: Collection[str]
) -> KeyVersion:
    """The version at ``path`` of the file; ``tokens`` are those of the service. Raises ``ConfigError``."""
    pinned = public_key(file, f"{path}.public_key", settings.public_key)
    if pinned.sha256.hex() != settings.public_key_sha256:
        raise ConfigError(
            str(file),
            f"{path}.public_key_sha256",
            "is not the SHA-256 of public_key",
            "Paste both lines from `sigmill keys show`.",
        )
    for token in settings.tokens:
        if token not in tokens:
            raise ConfigError(str(file), f"{path}.tokens", f"no token `{token}`", f"Add [tokens.{token}].")
    return KeyVersion(
        key=key,
        version=settings.version,
        state=settings.state,
        public_key=pinned,
        tokens=settings.tokens,
        expires_at_ms=_unix_ms(file, f"{path}.expires", settings.expires),
        created_at_ms=_unix_ms(file, f"{path}.created", settings.created),
        active_from_ms=_unix_ms(file, f"{path}.active_from", settings.active_from),
        verify_only_from_ms=_unix_ms(file, f"{path}.verify_only_from", settings.verify_only_from),
        certificates=_chain(file, f"{path}.certificates", settings.certificates, pinned),
        chains={
            name: _chain(file, f"{path}.chains.{name}", (chain,), pinned)
            for name, chain in settings.chains.items()
        },
    )


def _unix_ms(file: Path, path: str, moment: datetime | None) -> int | None:
    return None if moment is None else unix_ms(file, path, moment)


def _chain(file: Path, path: str, names: tuple[str, ...], pinned: PublicKey) -> tuple[bytes, ...]:
    """Certificates of these PEM files in DER, the first of them for the pinned key."""
    found: list[bytes] = []
    for i, name in enumerate(names):
        try:
            chain = read_chain(read_regular(file.parent / name, largest_bytes=LARGEST_BYTES))
            if not i and chain.leaf_spki != pinned.spki:
                raise ConfigError(
                    str(file),
                    path,
                    f"begins with a certificate for another key ({name})",
                    "Name the file with the certificate of this key first; `sigmill keys attach-certificate` does.",
                )
        except OSError as error:
            raise _unreadable(file, path, f"{name} cannot be read ({error.strerror})") from None
        except ChainInvalid as error:
            raise _unreadable(file, path, f"{name}: {error.problem}") from None
        found += chain.der
    return tuple(found)


def _unreadable(file: Path, path: str, problem: str) -> ConfigError:
    return ConfigError(
        str(file), path, problem, "Name a readable PEM file with certificates beside the tenant's file."
    )
