"""Check of the record's heads in Redis: whether this host has published a record that is not in its state directory any more."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from queueing.aio.runner import run
from queueing.coordination.record_heads import all_heads
from queueing.errors import ConfigError, QueueUnavailable
from queueing.errors.counts import counted
from queueing.redis.connection import with_connection
from queueing.transparency.origin_statements import one_word
from workers.background.record.lost_records import heads_of_host, lost_records
from workers.doctor.findings import Finding, fail, ok
from workers.record.folder import FOLDER_NAME

if TYPE_CHECKING:
    from collections.abc import Iterable

    from queueing.coordination.record_heads import PublishedHead
    from workers.background.record.lost_records import LostRecord
    from workers.config.service_file import ServiceConfiguration

_CHECK: Final = "record.lost"


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
    heads = heads_of_host(service, published, one_word(os.uname().nodename if host is None else host))
    subject = str(service.state_dir / FOLDER_NAME)
    return [_lost(subject, each) for each in lost_records(service.state_dir, heads)] or [
        ok(_CHECK, subject, "Redis has no head of another record of this host")
    ]


def _lost(subject: str, lost: LostRecord) -> Finding:
    tenants = ", ".join(lost.tenants[:3]) + (", …" if len(lost.tenants) > 3 else "")
    return fail(
        _CHECK,
        subject,
        f"this host has published a record {lost.name}, with {counted(lost.entries, 'entry', 'entries')} of"
        f" {counted(len(lost.tenants), 'tenant')} ({tenants}), last {lost.age_ms / 86_400_000:.1f} days ago, that is not here:"
        " its state directory was lost or replaced",
        "ops/runbooks/SigmillRecordReplaced.md",
    )
