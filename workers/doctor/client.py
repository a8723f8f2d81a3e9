"""Checks of a build host's client.toml: its settings, its key, and the ends of the certificates that it shows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from queueing.client.config import ClientConfig
from queueing.client.delivery.relay_tls import RelayTlsFiles
from queueing.errors import ConfigError
from queueing.files.regular_file import read_regular
from queueing.protocol.certificates import read_certificates
from workers.doctor.expiries import CLIENT_SOON_S, check_expiry
from workers.doctor.findings import Finding, fail, ok, skipped

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAX_PEM_BYTES: Final = 1024 * 1024


def check_client(file: Path, now_s: float) -> Iterator[Finding]:
    """Yield the findings; without valid settings only what is wrong with them. Asks nothing of a relay or of Redis."""
    try:
        config = ClientConfig.from_file(file)
        config.client_key()
        if config.url is not None:
            tls = RelayTlsFiles(
                authorities=config.ca_file, certificate=config.cert_file, private_key=config.key_file
            )
            tls.context()
    except ConfigError as error:
        where = f"{error.file}: {error.key}" if error.key else error.file
        yield fail("config", where, error.problem, error.remedy)
        return
    yield ok("config", str(file), f"tenant {config.tenant}, no errors")
    for setting, name in _certificates(config):
        yield _certificate(setting, Path(name), now_s)


def _certificates(config: ClientConfig) -> Iterator[tuple[str, str]]:
    """Certificates of this host by their settings."""
    if config.cert_file is not None:
        yield "cert_file", config.cert_file
    if config.redis is not None and config.redis.tls is not None and config.redis.tls.cert_file is not None:
        yield "redis.tls.cert_file", config.redis.tls.cert_file
    if config.identity is not None and config.identity.certificate_file is not None:
        yield "identity.certificate_file", config.identity.certificate_file


def _certificate(setting: str, file: Path, now_s: float) -> Finding:
    """End of the leaf. A certificate of a workload that lives for hours is renewed by its platform, and always ends soon."""
    subject = f"{setting}: {file}"
    try:
        leaf = read_certificates(read_regular(file, largest_bytes=_MAX_PEM_BYTES))[0]
    except (OSError, ValueError, IndexError) as error:
        return skipped(
            "certificate.expiry",
            subject,
            f"cannot be read: {error}",
            f"openssl x509 -in {file} -noout -enddate",
        )
    life_s = (leaf.not_valid_after_utc - leaf.not_valid_before_utc).total_seconds()
    return check_expiry(
        "certificate.expiry",
        subject,
        leaf.not_valid_after_utc.timestamp(),
        now_s,
        f"Replace {file} and its key by new ones; no restart is needed",
        soon_s=min(CLIENT_SOON_S, life_s / 10),
    )
