"""Files by which the issuer judges: tenants' rules, and providers' keys. Each is read again when it changes."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

from queueing.errors import ConfigError, IssuerUnavailable
from queueing.files.regular_file import read_regular
from workers.issuer.identity.provider_keys import MAX_FILE_BYTES, read_keys
from workers.issuer.identity.rules import TenantRules
from workers.issuer.tenant_rules import TenantFiles

if TYPE_CHECKING:
    from pathlib import Path

    from workers.issuer.identity.provider_keys import ProviderKeys
    from workers.issuer.issuer_file import IssuerConfiguration

log = logging.getLogger("sigmill.issuer")

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

MOST_FILES: Final = 1024
"""Files in memory; beyond it the one that was read first is read again when it is asked for."""


class FileReader(Protocol[T_co]):
    """Reader of one kind of file."""

    def read(self, file: Path) -> T_co:
        """The content. Raises what it raises; nothing is kept then."""


class FileCache(Generic[T]):
    """Contents of files by their path. One ``stat`` for a file that has not changed."""

    def __init__(self, reader: FileReader[T]) -> None:
        self._reader = reader
        self._kept: dict[Path, tuple[tuple[int, int, int], T]] = {}

    def get(self, file: Path) -> T | None:
        """The content of the file; None where there is none. Raises ``OSError``, and what the reader raises."""
        try:
            facts = file.stat()
        except (FileNotFoundError, NotADirectoryError):
            self._kept.pop(file, None)
            return None
        mark = facts.st_mtime_ns, facts.st_size, facts.st_ino
        kept = self._kept.get(file)
        if kept is not None and kept[0] == mark:
            return kept[1]
        content = self._reader.read(file)
        self._kept.pop(file, None)
        while len(self._kept) >= MOST_FILES:
            del self._kept[next(iter(self._kept))]
        self._kept[file] = mark, content
        return content


class RuleFiles:
    """Tenants' files and files of keys of one issuer, in memory while they are unchanged."""

    def __init__(self, configuration: IssuerConfiguration) -> None:
        self._configuration = configuration
        self._tenants = FileCache(TenantFiles(configuration))
        self._keys = FileCache(_KeysReader())

    def tenant(self, name: str, now_s: float) -> TenantRules:
        """Rules of a tenant; without keys where there is no such tenant, or this issuer is not in force there.

        Raises ``ConfigError`` for a file that is wrong, and ``IssuerUnavailable`` where it cannot be read.
        """
        file = self._configuration.tenant_file(name)
        try:
            found = self._tenants.get(file)
        except OSError as error:
            raise ConfigError(
                str(file), "", f"cannot be read ({error.strerror})", "Check owner and mode."
            ) from None
        if found is None or found[1] <= now_s * 1000:
            return TenantRules(tenant=name, keys={}, max_grant_ms=0, max_digests=1)
        return found[0]

    def provider_keys(self, provider: str, now_s: float) -> ProviderKeys | None:
        """Keys of a provider; None where there is no file yet.

        Raises ``IssuerUnavailable`` (retryable) for keys that are older than the provider's ``max_keys_age_s``, and for a
        file that cannot be used.
        """
        file = self._configuration.keys_file(provider)
        try:
            keys = self._keys.get(file)
        except (OSError, ValueError) as error:
            log.error("issuer.file_wrong", extra={"why": f"{file}: {error}", "hint": _REFRESH})
            raise IssuerUnavailable(f"the keys of {provider} cannot be read", retry_after_s=10.0) from None
        if keys is None:
            return None
        age_s = now_s - keys.fetched_ms / 1000
        if age_s > self._configuration.providers[provider].max_keys_age_s:
            raise IssuerUnavailable(
                f"the keys of {provider} are {age_s / 3600:.0f} h old, and are no longer used",
                retry_after_s=10.0,
            )
        return keys


_REFRESH = "Run `sigmill issuer refresh`, which writes the file."


class _KeysReader:
    """Reader of a file of keys."""

    def read(self, file: Path) -> ProviderKeys:
        return read_keys(read_regular(file, largest_bytes=MAX_FILE_BYTES))
