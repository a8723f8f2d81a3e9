"""Repeated reading of the configuration: unchanged files are not parsed again, and older ones are refused."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from queueing.config.toml import parse_toml, read_text
from queueing.errors import ConfigError
from workers.config.loading import tenant_files, with_tenants
from workers.config.service_file import service_of
from workers.config.tenant_file import tenant_of
from workers.state.adopted_config import AdoptedFiles, refuse_older_service, refuse_older_tenant
from workers.state.configuration_events import ConfigurationEvents

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from workers.config.loading import Configuration
    from workers.config.service_file import ServiceConfiguration
    from workers.config.tenants import Tenant

log = logging.getLogger("sigmill.config")

Stamp = tuple[int, int, int, int]
"""Size, inode, mtime and ctime in ns (inode(7)): when it differs, the file is read again."""


@dataclass(frozen=True, slots=True)
class _TenantSnapshot:
    stamp: Stamp
    text: str
    tenant: Tenant


@dataclass(frozen=True, slots=True)
class ReadResult:
    """A whole configuration as it is on disk: checked, not yet adopted."""

    configuration: Configuration
    service_text: str
    tenants: dict[Path, _TenantSnapshot]


class ConfigurationFiles:
    """Files of the service and its tenants, and the configuration adopted last. Blocks: not for the event loop."""

    def __init__(self, file: Path) -> None:
        self._file = file.resolve()
        self._adopted: ReadResult | None = None
        self._unremembered: dict[str, str] = {}
        self._failures: dict[Path, str] = {}
        self._events: ConfigurationEvents | None = None

    def read(self) -> ReadResult:
        """Read the files that changed since the last adoption. Raises ``ConfigError`` for an invalid or an older file."""
        text = read_text(self._file)
        service = self._service(text)
        memory = AdoptedFiles(service.state_dir)
        refuse_older_service(self._file, text, memory.service_text(), newest=memory.newest_service_epoch())
        tenants = {file: self._tenant(file, service, memory) for file in tenant_files(service)}
        configuration = with_tenants(service, {file: read.tenant for file, read in tenants.items()})
        return ReadResult(configuration, text, tenants)

    def adopt(self, result: ReadResult) -> None:
        """Adopt a configuration: later files must not be older than these, also after a restart.

        What the disk does not take is in ``unremembered`` until ``remember_again`` could write it.
        """
        before = {} if self._adopted is None else self._adopted.tenants
        changed = {
            read.tenant.name: read.text
            for file, read in result.tenants.items()
            if file not in before or before[file].text != read.text
        }
        self._adopted = result
        self._remember(result, {**self._unremembered, **changed})

    @property
    def unremembered(self) -> int:
        """Number of adopted files whose copy is not on the disk."""
        return len(self._failures)

    @property
    def unwritten(self) -> bool:
        """Whether there is a copy of a file, or the event of one, that the disk has not taken yet."""
        return bool(self._failures) or (self._events is not None and self._events.unkept > 0)

    def remember_again(self) -> None:
        """Try again to write the copies and events that could not be written."""
        if self.unwritten and self._adopted is not None:
            self._remember(self._adopted, self._unremembered)

    def _remember(self, result: ReadResult, texts: Mapping[str, str]) -> None:
        state_dir = result.configuration.service.state_dir
        copies = AdoptedFiles(state_dir)
        if self._events is None:
            self._events = ConfigurationEvents(state_dir)
        self._events.record(
            {
                "": (_copy_of(copies, ""), result.service_text),
                **{name: (_copy_of(copies, name), text) for name, text in texts.items()},
            }
        )
        failed = copies.keep(result.service_text, texts)
        self._unremembered = {name: text for name, text in texts.items() if name in {f.stem for f in failed}}
        for file, error in failed.items():
            if self._failures.get(file) != str(error):
                log.error("config.not_remembered", extra={"file": str(file), "why": str(error)})
        if self._failures and not failed:
            log.info("config.remembered")
        self._failures = {file: str(error) for file, error in failed.items()}

    def _service(self, text: str) -> ServiceConfiguration:
        if self._adopted is not None and self._adopted.service_text == text:
            return self._adopted.configuration.service
        return service_of(self._file, parse_toml(self._file, text))

    def _tenant(self, file: Path, service: ServiceConfiguration, memory: AdoptedFiles) -> _TenantSnapshot:
        known = None if self._adopted is None else self._adopted.tenants.get(file)
        stamp = stamp_of(file)
        if known is not None and known.stamp == stamp:
            _check_tokens(file, known.tenant, service)
            return known
        text = read_text(file)
        tenant = tenant_of(file, parse_toml(file, text), service.tokens)
        adopted = known.text if known is not None else memory.tenant_text(tenant.name)
        refuse_older_tenant(file, text, adopted, newest=memory.newest_tenant_epoch(tenant.name))
        return _TenantSnapshot(stamp, text, tenant)


def _copy_of(copies: AdoptedFiles, tenant: str) -> str | None:
    """Text of the copy of a tenant's file, or the service's (''); None where it is missing or the disk fails."""
    try:
        return copies.tenant_text(tenant) if tenant else copies.service_text()
    except ConfigError:
        return None


def stamp_of(file: Path) -> Stamp:
    """Stamp of a file, which changes with its content. Raises ``ConfigError`` where the file cannot be read."""
    try:
        facts = file.stat()
    except OSError as error:
        raise ConfigError(
            str(file), "", f"cannot be read ({error.strerror})", "Restore the file, or make it readable."
        ) from None
    return facts.st_size, facts.st_ino, facts.st_mtime_ns, facts.st_ctime_ns


def _check_tokens(file: Path, tenant: Tenant, service: ServiceConfiguration) -> None:
    for token in [token for token in tenant.tokens if token not in service.tokens]:
        raise ConfigError(str(file), "keys", f"no token `{token}`", f"Add [tokens.{token}].")


def refuse_other_place(file: Path, new: ServiceConfiguration, old: ServiceConfiguration) -> None:
    """Raise ``ConfigError`` for settings that a running process cannot change: audience, folders and service key."""
    for key, one, other in (
        ("service.audience", new.audience, old.audience),
        ("service.state_dir", new.state_dir, old.state_dir),
        ("service.tenants_dir", new.tenants_dir, old.tenants_dir),
        ("service_key", new.service_key, old.service_key),
    ):
        if one != other:
            raise ConfigError(str(file), key, "cannot change while it runs", "Restart the worker for it.")
