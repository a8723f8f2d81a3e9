"""TLS context of the relay, loaded again when its files change: a renewed certificate needs no restart."""

from __future__ import annotations

import asyncio
import logging
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Final

from queueing.errors import ConfigError

if TYPE_CHECKING:
    from prometheus_client import Counter

    from workers.relay.settings import TlsSettings

log = logging.getLogger("sigmill.relay")

CHECK_S: Final = 5.0
"""Interval at which the files are looked at."""

_Stamp = tuple[tuple[int, int, int], ...]


class ServerCertificate:
    """The relay's certificate and key. ``context`` is the same for the life of the process; new connections see what it loads.

    Raises ``ConfigError`` where the files cannot be used.
    """

    def __init__(self, settings: TlsSettings, *, reloads: Counter) -> None:
        self._settings = settings
        self._reloads = reloads
        self._stamp = self._stamp_now()
        self.context = server_context(settings)

    async def watch(self) -> None:
        """Look at the files until cancelled."""
        while True:
            await asyncio.sleep(CHECK_S)
            await asyncio.to_thread(self.reload_if_changed)

    def reload_if_changed(self) -> None:
        """Load changed files. Where certificate and key do not fit each other, the old ones stay until the files change again."""
        stamp = self._stamp_now()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            server_context(self._settings)  # in a context of no connection
            self.context.load_cert_chain(self._settings.certificate_file, self._settings.private_key_file)
        except (ConfigError, OSError, ssl.SSLError) as error:
            self._reloads.labels("refused").inc()
            log.error("relay.certificate_refused", extra={"why": str(error)})
            return
        self._reloads.labels("adopted").inc()
        log.info("relay.certificate_adopted")

    def _stamp_now(self) -> _Stamp:
        files = (self._settings.certificate_file, self._settings.private_key_file)
        try:
            stats = [Path(file).stat() for file in files]
        except OSError:
            return ()  # they are being replaced
        return tuple((each.st_mtime_ns, each.st_ino, each.st_size) for each in stats)


def server_context(settings: TlsSettings) -> ssl.SSLContext:
    """TLS context with these files; raises ``ConfigError`` where they cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(settings.certificate_file, settings.private_key_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            "relay.toml",
            "tls.certificate_file",
            f"certificate and key cannot be used: {error.strerror or error}",
            "Name the chain in PEM, leaf first, and its own private key without a password.",
        ) from None
    if settings.client_ca_file is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(settings.client_ca_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                "relay.toml",
                "tls.client_ca_file",
                f"cannot be used: {error.strerror or error}",
                "Name a file with the certificates of the authorities in PEM.",
            ) from None
    return context
