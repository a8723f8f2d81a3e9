"""Check of the record's heads in Redis: whether this host has published a record that is not in its state directory any more."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from queueing.aio.runner import run
from queueing.coordination.record_heads import KEEP_MS, all_heads
from queueing.errors import ConfigError, ProofInvalid, QueueUnavailable
from queueing.errors.counts import counted
from queueing.files.folders import is_there
from queueing.redis.connection import with_connection
from queueing.transparency.notes import read_note
from queueing.transparency.origin_statements import one_word, read_statement
from queueing.transparency.signed_heads import read_signed_head
from workers.doctor.findings import Finding, fail, ok
from workers.lanes.process.statements import service_note_key
from workers.record.folder import FOLDER_NAME, name_of, read_follows
from workers.record.replacement import former_records
from workers.record.volumes import RecordDamaged

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from queueing.coordination.record_heads import PublishedHead
    from workers.config.service_file import ServiceConfiguration

_CHECK: Final = "record.lost"

MOST_AGE_MS: Final = 3_600_000
"""A running worker publishes its heads again every ten minutes: a younger one is of another state directory in use."""


@dataclass(frozen=True, slots=True)
class _HostHead:
    """Certified head of a log of this host in Redis. ``follows``: name of the record that was given up for its one."""

    name: str
    tenant: str
    entries: int
    age_ms: int
    follows: str


def check_heads(service: ServiceConfiguration) -> list[Finding]:
    """Compare the state directory with the heads in Redis. No finding without a record, or without Redis, which has a check of its own."""
    if not service.record.enabled:
        return []
    try:
        published = run(with_connection(service.redis, all_heads))
        return compare_heads(service, published)
    except (QueueUnavailable, ConfigError):
        return []
    except OSError:
        return []  # the check of the record says that it cannot be read


def compare_heads(
    service: ServiceConfiguration, published: Iterable[PublishedHead], host: str | None = None
) -> list[Finding]:
    """A finding for each record of this host that is neither here nor followed by one that is; else one for all. Raises ``OSError``."""
    heads = _of_host(service, published, one_word(os.uname().nodename if host is None else host))
    known = _known(service.state_dir)
    while followed := {head.follows for head in heads if head.name in known} - known - {""}:
        known |= followed
    lost: dict[str, list[_HostHead]] = {}
    for head in heads:
        if head.name not in known and head.age_ms > MOST_AGE_MS:
            lost.setdefault(head.name, []).append(head)
    subject = str(service.state_dir / FOLDER_NAME)
    return [_lost(subject, name, logs) for name, logs in sorted(lost.items())] or [
        ok(_CHECK, subject, "Redis has no head of another record of this host")
    ]


def _lost(subject: str, name: str, logs: list[_HostHead]) -> Finding:
    entries, days = sum(log.entries for log in logs), min(log.age_ms for log in logs) / 86_400_000
    tenants = ", ".join(sorted(log.tenant for log in logs)[:3]) + (", …" if len(logs) > 3 else "")
    return fail(
        _CHECK,
        subject,
        f"this host has published a record {name}, with {counted(entries, 'entry', 'entries')} of {counted(len(logs), 'tenant')}"
        f" ({tenants}), last {days:.1f} days ago, that is not here: its state directory was lost or replaced",
        "ops/runbooks/SigmillRecordReplaced.md",
    )


def _known(state_dir: Path) -> set[str]:
    """Names of the records here, and of those that they follow. Raises ``OSError``."""
    known: set[str] = set()
    former = former_records(state_dir) if is_there(state_dir) else []  # it may be lost whole
    for folder in [state_dir / FOLDER_NAME, *former]:
        known.add(name_of(folder))
        try:
            known |= {head.origin.rpartition("/")[2] for head in read_follows(folder).values()}
        except RecordDamaged:
            continue
    return known


def _of_host(service: ServiceConfiguration, published: Iterable[PublishedHead], host: str) -> list[_HostHead]:
    """Heads that the service key stands for, of logs of this host."""
    heads = []
    for each in published:
        origin = f"{service.log_name}/{each.tenant}/{each.name}"
        try:
            signed = read_signed_head(each.value)
            head = signed.verify(service_note_key(service), audience=service.audience, origin=origin)
            statement = read_statement(read_note(signed.statement).text)
        except ProofInvalid:
            continue  # the worker tells of it, and replaces it
        follows = "" if statement.follows is None else statement.follows.origin.rpartition("/")[2]
        if statement.host == host:
            age_ms = max(KEEP_MS - each.left_ms, 0)
            heads.append(_HostHead(each.name, each.tenant, head.size, age_ms, follows))
    return heads
