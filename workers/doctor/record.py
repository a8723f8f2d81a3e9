"""Check of the record: whether its sealer keeps up, its key is certified, and no record was given up."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from workers.doctor.findings import Finding, fail, ok, skipped, warning
from workers.record.exchange import read_status
from workers.record.replacement import former_records

if TYPE_CHECKING:
    from workers.config.service_file import ServiceConfiguration

MOST_LAG_S: Final = 30.0
"""As the alert SigmillRecordLagging."""


def check_record(service: ServiceConfiguration, now_ns: int | None = None) -> list[Finding]:
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
