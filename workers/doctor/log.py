"""Checks of the write-ahead log: damage that its scrubber found, events that wait for it, and shares of its disk."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from queueing.errors.counts import agreed, counted
from workers.doctor.findings import Finding, fail, ok, skipped, warning
from workers.journal.event_spool import EventSpool
from workers.journal.scrubbing import read_report
from workers.limits.log_shares import used_shares
from workers.state.log_usage import read_usage

if TYPE_CHECKING:
    from pathlib import Path

    from workers.config.service_file import ServiceConfiguration

MOST_WAIT_S: Final = 90.0
"""A worker takes events within a second, and tries again after a minute at most where that failed."""

MOST_ROUND_S: Final = 3 * 86400.0
"""A round begins once a day, and one over a terabyte takes three."""

SHARE_TOLD: Final = 0.8
"""As the alert SigmillLogShareUsed."""

_MOST_PLACES: Final = 3


def check_log(service: ServiceConfiguration, now_s: float | None = None) -> list[Finding]:
    """Check the log of this host; nothing before its first worker has made it."""
    state_dir, now_s = service.state_dir, time.time() if now_s is None else now_s
    if os.access(state_dir, os.F_OK) and not os.access(state_dir, os.R_OK | os.X_OK):
        subject = str(state_dir / "wal")
        return [skipped("log", subject, "is not accessible to this user", "sudo -u sigmill sigmill doctor")]
    if not os.access(state_dir / "wal", os.F_OK):
        return []
    return [_damage(state_dir, now_s), *_events(state_dir, now_s), *_shares(service, now_s)]


def _damage(state_dir: Path, now_s: float) -> Finding:
    subject, report = str(state_dir / "wal"), read_report(state_dir)
    if report is None:
        return warning("log.damage", subject, "the scrubber of the worker has not read it yet")
    if report.damage:
        places = ", ".join(f"{each.segment} at {each.offset}" for each in report.damage[:_MOST_PLACES])
        more = len(report.damage) - _MOST_PLACES
        return fail(
            "log.damage",
            subject,
            f"is damaged: {places}{f' and {more} more places' if more > 0 else ''}",
            "ops/runbooks/SigmillLogDamaged.md",
        )
    read = f"{counted(report.segments, 'segment')} ({report.size_bytes / 1e9:.1f} GB)"
    read += f" {agreed(report.segments, 'has', 'have')} no damage"
    if report.ended_at is None:
        return ok("log.damage", subject, f"{read} so far; a round of the scrubber is under way")
    at = f"{datetime.fromtimestamp(report.ended_at, UTC):%F %T} UTC"
    if now_s - report.ended_at > MOST_ROUND_S:
        return warning(
            "log.damage",
            subject,
            f"{read}, as of {at}: no round of the scrubber has ended since",
            "journalctl -u 'sigmill-*' | grep log.not_scrubbed",
        )
    return ok("log.damage", subject, f"{read}, as of {at}")


def _events(state_dir: Path, now_s: float) -> list[Finding]:
    subject, spool = str(state_dir / "events"), EventSpool(state_dir)
    try:
        waiting, unreadable = spool.waiting(), spool.unreadable()
    except OSError as error:
        return [
            skipped(
                "log.events", subject, f"cannot be read: {error.strerror}", "sudo -u sigmill sigmill doctor"
            )
        ]
    oldest_s = min((record.at_ms / 1000 for events in waiting for record in events.records), default=now_s)
    findings = []
    files = f"{counted(len(waiting), 'file')} of events"
    if not waiting:
        findings.append(ok("log.events", subject, "no event waits for the log"))
    elif now_s - oldest_s <= MOST_WAIT_S and all(events.error is None for events in waiting):
        findings.append(
            ok("log.events", subject, f"{files} {agreed(len(waiting), 'waits', 'wait')} for a worker")
        )
    else:
        findings.append(
            fail(
                "log.events",
                subject,
                f"{files} {agreed(len(waiting), 'is', 'are')} not in the log, the oldest for {max(now_s - oldest_s, 0):.0f} s: no worker"
                " runs, or it cannot take them",
                "systemctl start sigmill-worker; journalctl -u 'sigmill-worker*' | grep events.not_collected",
            )
        )
    findings += [
        fail(
            "log.events",
            str(path),
            "is no list of events, and is in no log",
            "Keep it as evidence: a program or a person wrote it, or the disk damaged it. Then remove it.",
        )
        for path in unreadable
    ]
    return findings


def _shares(service: ServiceConfiguration, now_s: float) -> list[Finding]:
    usage = read_usage(service.state_dir)
    if usage is None:
        return []
    used = used_shares(usage, service.log.tenant_share, service.state_dir / "wal", now_s)
    return [
        warning(
            "log.share",
            tenant,
            f"has filled {part:.0%} of its share of the log's disk today; above 100% its jobs are not claimed here",
            "ops/runbooks/SigmillLogShareUsed.md",
        )
        for tenant, part in sorted(used.items())
        if part > SHARE_TOLD
    ]
