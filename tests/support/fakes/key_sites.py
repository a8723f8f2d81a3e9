"""A tenant's file with versions of one key in given states, and the events that commands leave."""

from __future__ import annotations

from pathlib import Path

from tests.support.fakes.config_files import Site, p256_key, version_lines
from workers.config.loading import ServiceScope, load_scope
from workers.journal.event_records import KeyRecord, LoginRecord
from workers.journal.event_spool import EventSpool


def site_with(tmp_path: Path, *states: str, service: str = "") -> ServiceScope:
    """acme with versions 1, 2, … in these states; a state may be followed by further lines. ``service``: more tables."""
    site = Site(tmp_path)
    site.service += service
    head, header, _ = site.tenants["acme"].partition("[[keys.release.versions]]\n")
    blocks = []
    for number, state in enumerate(states, 1):
        name, _, more = state.partition("\n")
        lines = version_lines(p256_key(number), version=number, state=name)
        blocks.append(f"{header}{lines}{more}\n")
    site.tenants["acme"] = head + "\n".join(blocks)
    return load_scope(site.write().config)


def files_of_tenants(folder: Path) -> list[Path]:
    """Files in the tenants' folder, sorted, without the lock of commands that make keys, which stays there."""
    return sorted(file for file in folder.iterdir() if file.name != ".creation.lock")


def logins_of(scope: ServiceScope) -> list[LoginRecord]:
    """Logins of commands that wait for a worker, oldest first."""
    waiting = EventSpool(scope.state_dir).waiting()
    return [record for events in waiting for record in events.records if isinstance(record, LoginRecord)]


def events_of(scope: ServiceScope) -> list[KeyRecord]:
    """Events of tenants' keys that wait for a worker, oldest first."""
    return [record for record in _key_records(scope) if record.tenant]


def service_signatures_of(scope: ServiceScope) -> list[KeyRecord]:
    """Events of signatures that commands had the service key make."""
    return [record for record in _key_records(scope) if not record.tenant]


def _key_records(scope: ServiceScope) -> list[KeyRecord]:
    waiting = EventSpool(scope.state_dir).waiting()
    return [record for events in waiting for record in events.records if isinstance(record, KeyRecord)]
