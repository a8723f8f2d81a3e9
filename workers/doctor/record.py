"""Check of the record: whether its sealer keeps up, its key is certified, and no record was given up."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from workers.doctor.findings import Finding, fail, ok, skipped, warning
from workers.record.exchange import SEALER_FOLDER, read_status
from workers.record.replacement import former_records
from workers.record.retention.policy import read_policy

if TYPE_CHECKING:
    from workers.config.service_file import ServiceConfiguration
    from workers.record.exchange import SealerStatus

_LATE_DAYS: Final = 31.0
"""A volume goes as a whole, and pauses count for a month at most: older entries than this are usual."""

_MOST_PLACES: Final = 3

MOST_LAG_S: Final = 30.0
"""As the alert SigmillRecordLagging."""


def check_record(
    service: ServiceConfiguration, now_ns: int | None = None, now_s: float | None = None
) -> list[Finding]:
    """Check the record of this host; nothing where it is not switched on."""
    if not service.record.enabled:
        return []
    subject = str(service.state_dir / "record")
    try:
        former = former_records(service.state_dir)
    except OSError as error:
        return [skipped("record", subject, f"cannot be read: {error.strerror}", "sudo sigmill doctor")]
    status = read_status(service.state_dir)
    findings = []
    if status is None:
        findings.append(warning("record", subject, "no sealer has run yet; the worker starts it"))
    else:
        lag_s = status.lag_s(time.monotonic_ns() if now_ns is None else now_ns)
        findings.append(
            ok(
                "record",
                subject,
                f"sealed {lag_s:.0f} s ago, {status.uncertified} logs wait for the service key",
            )
            if lag_s <= MOST_LAG_S
            else fail(
                "record",
                subject,
                f"nothing was sealed for {lag_s:.0f} s",
                "journalctl -u 'sigmill-*' | grep -e record.failed -e record.sealer_ended",
            )
        )
    if status is not None:
        findings.append(_retention(service, status, time.time() if now_s is None else now_s))
    if status is not None and status.damage:
        more = len(status.damage) - _MOST_PLACES
        places = ", ".join(status.damage[:_MOST_PLACES]) + (f" and {more} more places" if more > 0 else "")
        findings.append(
            fail("record.damage", subject, f"is damaged: {places}", "ops/runbooks/SigmillRecordDamaged.md")
        )
    findings += [
        fail(
            "record.former",
            str(path),
            "was given up because it was damaged or set back",
            "ops/runbooks/SigmillRecordReplaced.md",
        )
        for path in former
    ]
    return findings


def _retention(service: ServiceConfiguration, status: SealerStatus, now_s: float) -> Finding:
    """Size and oldest entry of the record, beside the age at which entries are removed."""
    subject, retain_days = str(service.state_dir / "record"), service.record.retain_days
    if not status.oldest_ms:
        return ok("record.retention", subject, f"no entries yet; they are kept for {retain_days:g} days")
    age_days = (now_s - status.oldest_ms / 1000) / 86400
    facts = f"{status.record_bytes / 1e9:.1f} GB, the oldest entry is {age_days:.0f} days old"
    try:
        policy = read_policy(service.state_dir / SEALER_FOLDER)
    except OSError as error:
        return skipped(
            "record.retention", subject, f"cannot be read: {error.strerror}", "sudo sigmill doctor"
        )
    if policy is None or policy.retain_days != retain_days:
        what = f"{facts}; the sealer does not know yet that entries are kept for {retain_days:g} days"
        return warning("record.retention", subject, what, "journalctl -u 'sigmill-*' | grep record.retention")
    late = " (older ones of slow tenants, and of keys with a later certificate, stay)"
    return ok(
        "record.retention",
        subject,
        f"{facts}; entries are kept for {retain_days:g} days"
        + (late if age_days > retain_days + _LATE_DAYS else ""),
    )
