"""Check of an issuer's host: its files, the ages of providers' keys, the certificate of its front, and its lane's socket."""

from __future__ import annotations

import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cryptography import x509

from queueing.config.secrets import secret_path
from queueing.files.folders import is_there
from queueing.files.regular_file import read_regular
from workers.config.values import ErrorList
from workers.doctor.findings import Finding, fail, ok, skipped, warning
from workers.issuer.checking import check_files
from workers.issuer.identity.provider_keys import MAX_FILE_BYTES, read_keys
from workers.issuer.issuer_file import read_issuer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workers.issuer.issuer_file import IssuerConfiguration

_OLD_S: Final = 3600.0
"""As the alert SigmillProviderKeysOld."""

_SOON_DAYS: Final = 14.0
_MAX_PEM_BYTES: Final = 256 * 1024
_REFRESH: Final = "sigmill issuer refresh"


def check_issuer(file: Path, now_s: float) -> Iterator[Finding]:
    """Findings of the issuer whose file this is; without a valid file only its errors."""
    errors = ErrorList()
    configuration = read_issuer(file, errors)
    warnings = [] if configuration is None else check_files(configuration, errors)
    for error in errors.all:
        where = f"{error.file}: {error.key}" if error.key else error.file
        yield fail("config", where, error.problem, error.remedy)
    for caution in warnings:
        yield warning("config", f"{caution.file}: {caution.key}", caution.problem, caution.remedy)
    if configuration is None:
        return
    if not errors.all:
        yield ok("config", str(file), f"{len(configuration.providers)} providers, no errors")
    for provider in configuration.providers:
        yield _keys(configuration, provider, now_s)
    yield _certificate(configuration, now_s)
    yield _lane(configuration)


def _keys(configuration: IssuerConfiguration, provider: str, now_s: float) -> Finding:
    """Age of a provider's keys, beside that at which they are no longer used."""
    file = configuration.keys_file(provider)
    try:
        keys = read_keys(read_regular(file, largest_bytes=MAX_FILE_BYTES))
    except FileNotFoundError:
        return fail("issuer.keys", provider, "its public keys were never fetched", _REFRESH)
    except PermissionError:
        return skipped("issuer.keys", provider, f"{file} cannot be read", "sudo sigmill doctor")
    except (OSError, ValueError) as error:
        return fail("issuer.keys", provider, f"{file}: {error}", _REFRESH)
    age_s = now_s - keys.fetched_ms / 1000
    most_s = configuration.providers[provider].max_keys_age_s
    facts = f"{len(keys.by_kid)} keys, fetched {age_s / 60:.0f} minutes ago"
    if keys.issuer_url != configuration.providers[provider].issuer_url:
        return fail("issuer.keys", provider, f"{file} is of another issuer_url", _REFRESH)
    if not keys.by_kid:
        return fail("issuer.keys", provider, "none of its keys can be used", _REFRESH)
    if age_s > most_s:
        return fail("issuer.keys", provider, f"{facts}: they are no longer used", _REFRESH)
    if age_s > _OLD_S:
        return warning("issuer.keys", provider, f"{facts}: is `refresh --watch` running?", _REFRESH)
    return ok("issuer.keys", provider, facts)


def _certificate(configuration: IssuerConfiguration, now_s: float) -> Finding:
    """End of the front's certificate, and whether its private key is for its owner only."""
    path = configuration.path(configuration.http.certificate)
    try:
        leaf = x509.load_pem_x509_certificates(read_regular(path, largest_bytes=_MAX_PEM_BYTES))[0]
    except (OSError, ValueError) as error:
        return fail("issuer.tls", str(path), f"cannot be read: {error}", "Name the PEM file of the front.")
    days = (leaf.not_valid_after_utc - datetime.fromtimestamp(now_s, UTC)).total_seconds() / 86400
    if days < 0:
        return fail("issuer.tls", str(path), "has expired: no build can connect", "Renew it.")
    if days < _SOON_DAYS:
        return warning("issuer.tls", str(path), f"expires in {days:.0f} days", "Renew it.")
    key = Path(secret_path(configuration.file.parent, configuration.http.private_key))
    try:
        if stat.S_IMODE(key.stat().st_mode) & 0o077:
            return fail("issuer.tls", str(key), "is open to group or others", f"chmod 600 {key}")
    except OSError:
        return ok("issuer.tls", str(path), f"expires in {days:.0f} days; its key is another user's")
    return ok("issuer.tls", str(path), f"expires in {days:.0f} days")


def _lane(configuration: IssuerConfiguration) -> Finding:
    """Whether the lane is another process than the front's child, and listens."""
    if configuration.socket is None:
        return warning(
            "issuer.lane",
            str(configuration.file),
            "the front starts the lane as its own user, who can read the PIN",
            "Set `socket` and `front_uid`, and enable sigmill-issuer-lane.service.",
        )
    try:
        listens = is_there(configuration.socket)
    except OSError as error:
        return skipped(
            "issuer.lane",
            str(configuration.socket),
            f"cannot be seen: {error.strerror}",
            "sudo sigmill doctor",
        )
    if not listens:
        return fail(
            "issuer.lane", str(configuration.socket), "is not there", "systemctl status sigmill-issuer-lane"
        )
    return ok("issuer.lane", str(configuration.socket), "listens")
