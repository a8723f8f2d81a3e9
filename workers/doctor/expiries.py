"""What ends soon: certificates, versions of keys, client keys."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cryptography import x509

from workers.doctor.findings import Finding, good, mend, unasked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from queueing.config.redis import RedisConfig
    from workers.config.loading import Configuration
    from workers.config.tenants import Tenant

SOON_S: Final = 30 * 86400.0
"""Time for whoever issues certificates, or makes a key with its witnesses."""

CLIENT_SOON_S: Final = 14 * 86400.0
"""A client key is two commands on two hosts."""


def look_at_dates(configuration: Configuration, now_s: float) -> list[Finding]:
    """Of every tenant, and of the connection to Redis; only what signs and may ask counts."""
    findings = [finding for tenant in configuration.tenants.values() for finding in _of_tenant(tenant, now_s)]
    findings += _of_redis(configuration.service.redis, now_s)
    return findings


def _of_tenant(tenant: Tenant, now_s: float) -> Iterator[Finding]:
    file = f"{tenant.name}.toml"
    for key in tenant.keys.values():
        for version in key.versions:
            if version.state != "active":
                continue
            subject = f"{tenant.name}: {key.name}/{version.version}"
            if version.expires_at_ms is not None:
                yield judge_date(
                    "key.expiry",
                    subject,
                    version.expires_at_ms / 1000,
                    now_s,
                    f"sigmill keys create --tenant {tenant.name} --key {key.name} --token {version.tokens[0]}"
                    f" --type {version.public_key.kind.lower().replace('_', '-')} --write",
                )
            for raw in version.certificates:
                certificate = x509.load_der_x509_certificate(raw)
                yield judge_date(
                    "certificate.expiry",
                    f"{subject} ({certificate.subject.rfc4514_string()})",
                    certificate.not_valid_after_utc.timestamp(),
                    now_s,
                    f'certificates = ["NEW.pem"]   # of the version, in {file}; then sigmill tenants reload',
                )
    for client in tenant.clients.values():
        if not client.revoked:
            yield judge_date(
                "client.expiry",
                f"{tenant.name}: client {client.name}",
                client.expires_at_ms / 1000,
                now_s,
                f"sigmill clients create {client.name}-2 --from connection.toml   # on the build host",
                soon_s=CLIENT_SOON_S,
            )


def _of_redis(config: RedisConfig, now_s: float) -> Iterator[Finding]:
    if config.tls is None:
        return
    for name in filter(None, (config.tls.ca_file, config.tls.cert_file)):
        try:
            certificate = x509.load_pem_x509_certificate(Path(name).read_bytes())
        except (OSError, ValueError) as error:
            yield unasked(
                "certificate.expiry",
                name,
                f"cannot be read: {error}",
                f"openssl x509 -in {name} -noout -enddate",
            )
            continue
        yield judge_date(
            "certificate.expiry",
            name,
            certificate.not_valid_after_utc.timestamp(),
            now_s,
            f"Issue a new one and put it at {name}; then systemctl restart sigmill-worker",
        )


def judge_date(
    check: str, subject: str, ends_at_s: float, now_s: float, line: str, *, soon_s: float = SOON_S
) -> Finding:
    """By how long it still holds."""
    day = datetime.fromtimestamp(ends_at_s, UTC).strftime("%Y-%m-%d")
    left_s = ends_at_s - now_s
    if left_s <= 0:
        return mend(check, subject, f"ended on {day}", line)
    if left_s < soon_s:
        return mend(check, subject, f"ends on {day}, in {left_s / 86400:.0f} days", line)
    return good(check, subject, f"holds until {day}")
