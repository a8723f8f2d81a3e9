"""Checks of expiries: certificates, key versions, client keys, issuers of grants."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cryptography import x509

from queueing.files.regular_file import read_regular
from queueing.protocol.certificates import read_certificates, read_names
from workers.doctor.findings import Finding, fail, ok, skipped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from queueing.config.redis import RedisConfig
    from workers.config.loading import Configuration
    from workers.config.tenants import Tenant

SOON_S: Final = 30 * 86400.0
"""Time to obtain a certificate, or to hold a key ceremony."""

CLIENT_SOON_S: Final = 14 * 86400.0
"""A client key takes two commands on two hosts."""

_LARGEST_BYTES: Final = 4 * 1024 * 1024
"""Of a file of certificates: all roots of a distribution are less than 1 MiB."""


def check_expiries(configuration: Configuration, now_s: float) -> list[Finding]:
    """Check all tenants and the connection to Redis; key versions that are active or wait to be, and active clients and issuers."""
    findings = [finding for tenant in configuration.tenants.values() for finding in _of_tenant(tenant, now_s)]
    findings += _of_redis(configuration.service.redis, now_s)
    return findings


def _of_tenant(tenant: Tenant, now_s: float) -> Iterator[Finding]:
    for key in tenant.keys.values():
        for version in key.versions:
            if version.state_at(int(now_s * 1000)) not in {"next", "active"}:
                continue
            subject = f"{tenant.name}: {key.name}/{version.version}"
            if version.expires_at_ms is not None:
                yield check_expiry(
                    "key.expiry",
                    subject,
                    version.expires_at_ms / 1000,
                    now_s,
                    f"sigmill keys create --tenant {tenant.name} --key {key.name} --token {version.tokens[0]}"
                    f" --type {version.public_key.kind.lower().replace('_', '-')} --write",
                )
            for raw in (*version.certificates, *(c for chain in version.chains.values() for c in chain)):
                certificate = read_names(x509.load_der_x509_certificate(raw))
                yield check_expiry(
                    "certificate.expiry",
                    f"{subject} ({certificate.subject.rfc4514_string()})",
                    certificate.not_valid_after_utc.timestamp(),
                    now_s,
                    f"sigmill keys request --tenant {tenant.name} --key {key.name}/{version.version}",
                )
    for client in tenant.clients.values():
        if not client.revoked:
            yield check_expiry(
                "client.expiry",
                f"{tenant.name}: client {client.name}",
                client.expires_at_ms / 1000,
                now_s,
                f"sigmill clients create {client.name}-2 --from connection.toml   # on the build host",
                soon_s=CLIENT_SOON_S,
            )
    for issuer in tenant.issuers.values():
        if not issuer.revoked:
            yield check_expiry(
                "issuer.expiry",
                f"{tenant.name}: issuer {issuer.name}",
                issuer.expires_at_ms / 1000,
                now_s,
                f"Raise `expires` of [issuers.{issuer.name}], or give the issuer a new key; then sigmill tenants reload",
                soon_s=CLIENT_SOON_S,
            )


def _of_redis(config: RedisConfig, now_s: float) -> Iterator[Finding]:
    if config.tls is None:
        return
    for name in filter(None, (config.tls.ca_file, config.tls.cert_file)):
        try:
            certificate = read_certificates(read_regular(Path(name), largest_bytes=_LARGEST_BYTES))[0]
        except (OSError, ValueError) as error:
            yield skipped(
                "certificate.expiry",
                name,
                f"cannot be read: {error}",
                f"openssl x509 -in {name} -noout -enddate",
            )
            continue
        yield check_expiry(
            "certificate.expiry",
            name,
            certificate.not_valid_after_utc.timestamp(),
            now_s,
            f"Replace {name} by a new certificate; then systemctl restart sigmill-worker",
        )


def check_expiry(
    check: str, subject: str, ends_at_s: float, now_s: float, fix: str, *, soon_s: float = SOON_S
) -> Finding:
    """Check one expiry: it fails from ``soon_s`` before the date."""
    day = datetime.fromtimestamp(ends_at_s, UTC).strftime("%Y-%m-%d")
    left_s = ends_at_s - now_s
    if left_s <= 0:
        return fail(check, subject, f"expired on {day}", fix)
    if left_s < soon_s:
        return fail(check, subject, f"expires on {day}, in {left_s / 86400:.0f} days", fix)
    return ok(check, subject, f"valid until {day}")
