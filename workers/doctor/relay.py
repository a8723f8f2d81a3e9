"""Checks of the relay's file, where this host has one beside sigmill.toml: its settings, its certificate, and Redis of each tenant."""

from __future__ import annotations

import resource
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cryptography import x509

from queueing.aio.runner import run
from queueing.client.delivery.queue_access import PublishedDirectory
from queueing.client.delivery.redis_access import RedisAccess
from queueing.errors import ConfigError, QueueUnavailable
from queueing.files.regular_file import read_whole
from queueing.unix_time import unix_ms
from workers.config.values import ErrorList
from workers.doctor.findings import Finding, fail, ok, skipped, warning
from workers.doctor.redis import address_of
from workers.relay.checking import check_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from queueing.config.redis import RedisConfig
    from workers.relay.settings import RelaySettings

FILE: Final = "relay.toml"
_SOON_DAYS: Final = 14
_SPARE_FILES: Final = 256
"""Descriptors beside those of clients: Redis, metrics, logs."""


def check_relay(file: Path, now_s: float) -> Iterator[Finding]:
    """Yield the findings; none where there is no such file."""
    if not file.exists():
        return
    errors = ErrorList()
    settings = check_file(file, errors)
    for error in errors.all:
        yield fail("relay", f"{error.file}: {error.key}", error.problem, error.remedy)
    if settings is None or errors.all:
        return
    yield ok("relay", str(file), f"{len(settings.tenants)} tenants, no errors")
    yield _certificate(Path(settings.tls.certificate_file), now_s)
    if settings.tls.client_ca_file is not None:
        yield _certificate(Path(settings.tls.client_ca_file), now_s)
    yield _descriptors(settings)
    for tenant, each in settings.tenants.items():
        yield _redis(tenant, each.redis)


def _certificate(file: Path, now_s: float) -> Finding:
    """The end of the first certificate in the file that ends."""
    ends = min(each.not_valid_after_utc for each in x509.load_pem_x509_certificates(read_whole(file)))
    days = (ends - datetime.fromtimestamp(now_s, UTC)).days
    if days < 0:
        return fail("relay", str(file), "the certificate has expired", "Renew it; no restart is needed.")
    if days < _SOON_DAYS:
        return warning(
            "relay", str(file), f"the certificate expires in {days} days", "Renew it; no restart is needed."
        )
    return ok("relay", str(file), f"the certificate is valid for {days} days")


def _descriptors(settings: RelaySettings) -> Finding:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    needed = settings.limits.connections + _SPARE_FILES
    if hard != resource.RLIM_INFINITY and hard < needed:
        return warning(
            "relay",
            "limits.connections",
            f"{settings.limits.connections} connections need {needed} file descriptors; this shell may open {hard}",
            "Compare LimitNOFILE= of its unit, or lower the limit.",
        )
    return ok("relay", "limits.connections", f"{settings.limits.connections} connections")


def _redis(tenant: str, config: RedisConfig) -> Finding:
    place = f"tenant {tenant}: {address_of(config)}"
    try:
        directory = run(_directory(tenant, config))
    except QueueUnavailable as error:
        return skipped(
            "relay", place, f"does not answer: {error.message}", "sigmill explain queue.unavailable"
        )
    except ConfigError as error:
        return fail("relay", place, error.problem, error.remedy)
    if directory.sealed is None:
        return warning(
            "relay", place, "no key directory is published", "Start a worker that serves the tenant."
        )
    return ok("relay", place, "Redis answers the tenant's user")


async def _directory(tenant: str, config: RedisConfig) -> PublishedDirectory:
    access = RedisAccess.connected(config, tenant=tenant, reply_id="", now_ms=unix_ms)
    try:
        return await access.directory()
    finally:
        await access.aclose()
