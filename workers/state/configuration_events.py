"""Events of new configurations: which file is in force from now on, and which of its values differ from those before.

They are put into the spool before the adopted copies are replaced (``adopted_config``): after a crash in between the next start
finds the same change, and records it again.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from queueing.config.toml import parse_toml
from queueing.errors import ConfigError
from queueing.unix_time import unix_ms
from workers.journal.event_records import ConfigurationRecord
from workers.journal.event_spool import EventSpool

if TYPE_CHECKING:
    from collections.abc import Mapping

log = logging.getLogger("sigmill.config")

MOST_NAMES: Final = 64
"""Names of changed values in one event; further ones are not named, and the last name is then ``...``."""

_MOST_CHARACTERS: Final = 128
_SERVICE_DEPTH: Final = 1
"""Of the service's file, which each tenant's record has, only tables are named: below them are names of tenants and tokens."""

_TENANT_DEPTH: Final = 4


class ConfigurationEvents:
    """Events of one state directory. Blocks: not for the event loop."""

    def __init__(self, state_dir: Path) -> None:
        self._spool = EventSpool(state_dir)
        self._told: dict[str, str] = {}
        self._unkept: list[ConfigurationRecord] = []
        self._why = ""

    @property
    def unkept(self) -> int:
        """Number of events that the disk has not taken yet. They are in memory, and a process that ends loses them."""
        return len(self._unkept)

    def record(self, texts: Mapping[str, tuple[str | None, str]]) -> None:
        """Put an event into the spool for each file whose text differs; ``texts``: by tenant ('' is the service), old and new text.

        A text that was recorded last is not recorded again. Where the disk fails, that is logged once, the configuration is in
        force nevertheless, and its events are ``unkept``: the next call tries them again, first.
        """
        at_ms = unix_ms()
        new = {
            tenant: after
            for tenant, (before, after) in texts.items()
            if after not in {before, self._told.get(tenant)}
        }
        self._unkept += [_record(at_ms, tenant, texts[tenant][0], after) for tenant, after in new.items()]
        self._told |= new
        try:
            self._spool.put(*self._unkept)
        except OSError as error:
            if self._why != str(error):  # it is tried again every few seconds
                self._why = str(error)
                log.error("events.not_kept", extra={"why": self._why, "events": len(self._unkept)})
            return
        self._why = ""
        self._unkept.clear()


def _record(at_ms: int, tenant: str, before: str | None, after: str) -> ConfigurationRecord:
    tables = _tables(after)
    epochs: Any = tables if tenant else tables.get("service")
    epoch = epochs.get("epoch", 0) if isinstance(epochs, dict) else 0
    depth = _TENANT_DEPTH if tenant else _SERVICE_DEPTH
    names = [] if before is None else _changed("", _tables(before), tables, depth)
    if len(names) > MOST_NAMES:
        names = [*names[: MOST_NAMES - 1], "..."]
    return ConfigurationRecord(
        at_ms,
        tenant,
        epoch if isinstance(epoch, int) and epoch >= 0 else 0,
        hashlib.sha256(after.encode()).digest(),
        tuple(name[:_MOST_CHARACTERS] for name in names),
    )


def _changed(prefix: str, before: dict[str, Any], after: dict[str, Any], depth: int) -> list[str]:
    """Dotted names of the values that differ, at most ``depth`` tables deep; sorted."""
    names = []
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key), after.get(key)
        if old == new:
            continue
        name = f"{prefix}{key}"
        if depth > 1 and isinstance(old, dict) and isinstance(new, dict):
            names += _changed(f"{name}.", old, new, depth - 1)
        else:
            names.append(name)
    return names


def _tables(text: str) -> dict[str, Any]:
    """Tables of a text; empty for a damaged copy of a former one."""
    try:
        return parse_toml(Path("adopted"), text)
    except ConfigError:
        return {}
