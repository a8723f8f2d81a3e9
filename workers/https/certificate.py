"""TLS of a server, loaded again when its files change: neither a renewed certificate nor another authority needs a restart."""

from __future__ import annotations

import asyncio
import logging
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from queueing.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from workers.telemetry.edge_metrics import HttpsMetrics

log = logging.getLogger("sigmill.https")

CHECK_S: Final = 5.0
"""Interval at which the files are looked at."""

_Stamp = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """PEM files of a server's TLS. ``client_ca``: authorities of client certificates, which are then asked for.

    ``client_required``: without one a connection is refused. ``file``, ``certificate_key`` and ``client_ca_key``: the settings that
    name them, for errors.
    """

    certificate: Path
    private_key: Path
    client_ca: Path | None = None
    client_required: bool = True
    file: str
    certificate_key: str
    client_ca_key: str

    def context(self) -> ssl.SSLContext:
        """TLS context with these files, for 1.2 or later. Raises ``ConfigError`` where they cannot be used."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # A resumed session is not verified again: its client may be of an authority that has been removed since.
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
        try:
            context.load_cert_chain(self.certificate, self.private_key)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                self.file,
                self.certificate_key,
                f"certificate and key cannot be used: {_why(error)}",
                "Name the chain in PEM, leaf first, and its own private key without a password; this process must be able to read both.",
            ) from None
        if self.client_ca is not None:
            context.verify_mode = ssl.CERT_REQUIRED if self.client_required else ssl.CERT_OPTIONAL
            try:
                context.load_verify_locations(self.client_ca)
            except (OSError, ssl.SSLError) as error:
                raise ConfigError(
                    self.file,
                    self.client_ca_key,
                    f"cannot be used: {_why(error)}",
                    "Name a file with the certificates of the authorities in PEM.",
                ) from None
        return context

    def stamp(self) -> _Stamp:
        """Mark of the files' state; () while they are being replaced."""
        try:
            stats = [
                file.stat()
                for file in (self.certificate, self.private_key, self.client_ca)
                if file is not None
            ]
        except OSError:
            return ()
        return tuple((each.st_mtime_ns, each.st_ino, each.st_size) for each in stats)


class ServerCertificate:
    """Certificate of a server, and the authorities of its clients.

    ``context`` is the listener's for the life of the process: each new connection is handed on to the newest one, because
    authorities can be added to a context, and none can be removed. Raises ``ConfigError`` where the files cannot be used.
    """

    def __init__(self, files: TlsFiles, metrics: HttpsMetrics) -> None:
        self._files = files
        self._reloads = metrics.https_certificate_reloads
        for result in ("adopted", "refused"):  # rate() does not see the first increase of a new series
            self._reloads.labels(result)
        self._stamp = files.stamp()
        self._refused: _Stamp | None = None
        self.context = self._newest = files.context()
        self.context.sni_callback = self._use_newest

    async def watch(self) -> None:
        """Look at the files until cancelled."""
        while True:
            await asyncio.sleep(CHECK_S)
            await asyncio.to_thread(self.reload_if_changed)

    def reload_if_changed(self) -> None:
        """Load changed files. Where they cannot be used, the old ones stay, and it is tried again at each look: what hindered may pass.

        Certificate and key may not fit each other yet, and a process with no file descriptor left cannot read them for a while. That is
        said once for a state of the files.
        """
        stamp = self._files.stamp()
        if stamp == self._stamp:
            return
        try:
            self._newest = self._files.context()
        except ConfigError as error:
            if stamp != self._refused:
                self._refused = stamp
                self._reloads.labels("refused").inc()
                log.error("https.certificate_refused", extra={"why": str(error)})
            return
        self._stamp, self._refused = stamp, None
        self._reloads.labels("adopted").inc()
        log.info("https.certificate_adopted")

    def _use_newest(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        """Called at each handshake, whether the client names a host or not, before a certificate is chosen."""
        connection.context = self._newest


def _why(error: OSError) -> str:
    return error.strerror or type(error).__name__
