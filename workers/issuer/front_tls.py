"""TLS of the front: 1.2 or later, its certificate loaded again when the files change, client certificates where they are wanted."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

from queueing.config.secrets import secret_path
from queueing.errors import ConfigError

if TYPE_CHECKING:
    from workers.issuer.issuer_file import IssuerConfiguration

log = logging.getLogger("sigmill.issuer")


class FrontTls:
    """TLS context of one front. ``context`` is the same for the life of the process; new connections see what it loads.

    Raises ``ConfigError`` where the files cannot be used.
    """

    def __init__(self, configuration: IssuerConfiguration) -> None:
        self._configuration = configuration
        self._mark = self._mark_now()
        self.context = self._loaded()

    def reload_if_changed(self) -> None:
        """Load a changed certificate and key; where they do not fit each other, the old ones stay until the next change."""
        mark = self._mark_now()
        if mark == self._mark:
            return
        self._mark = mark
        try:
            self._loaded()  # in a context of no connection
            self.context.load_cert_chain(*self._files())
        except (ConfigError, OSError, ssl.SSLError) as error:
            log.error("issuer.certificate_refused", extra={"why": str(error)})
            return
        log.info("issuer.certificate_adopted")

    def _files(self) -> tuple[Path, Path]:
        http, folder = self._configuration.http, self._configuration.file.parent
        return folder / http.certificate, Path(secret_path(folder, http.private_key))

    def _mark_now(self) -> tuple[tuple[int, int, int], ...]:
        try:
            facts = [file.stat() for file in self._files()]
        except OSError:
            return ()  # they are being replaced
        return tuple((each.st_mtime_ns, each.st_ino, each.st_size) for each in facts)

    def _loaded(self) -> ssl.SSLContext:
        http = self._configuration.http
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(*self._files())
            if http.client_ca is not None:
                context.load_verify_locations(self._configuration.path(http.client_ca))
                context.verify_mode = ssl.CERT_OPTIONAL
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                str(self._configuration.file),
                "http",
                f"a file for TLS cannot be used ({error.strerror or type(error).__name__})",
                "Check that `certificate`, `private_key` and `client_ca` name PEM files that belong together and the front can read.",
            ) from None
        return context
