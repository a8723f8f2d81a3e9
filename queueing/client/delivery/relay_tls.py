"""TLS of a client towards a relay: authorities, and the client's certificate, read again when their files change."""

from __future__ import annotations

import logging
import ssl
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Final

from queueing.errors import ConfigError

log = logging.getLogger("sigmill.client")

CHECK_S: Final = 1.0
"""Shortest time between two looks at the files: certificates of workloads live for an hour."""

_Stamp = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayTlsFiles:
    """PEM files. ``authorities``: those that may vouch for the relay, None for the host's. ``certificate`` and ``private_key``: the
    client's own, both or neither.
    """

    authorities: str | None = None
    certificate: str | None = None
    private_key: str | None = None

    def context(self) -> ssl.SSLContext:
        """TLS context with these files, for 1.2 or later. Raises ``ConfigError`` where they cannot be used."""
        try:
            context = ssl.create_default_context(cafile=self.authorities)
        except (OSError, ssl.SSLError) as error:
            problem = f"cannot be read: {_why(error)}"
            remedy = "Name a file with certificates in PEM."
            raise ConfigError("client.toml", "ca_file", problem, remedy) from None
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.certificate is not None:
            try:
                context.load_cert_chain(self.certificate, self.private_key, password=_no_password)
            except (OSError, ssl.SSLError) as error:
                problem = f"certificate and key cannot be used: {_why(error)}"
                remedy = "Name the chain in PEM, leaf first, as cert_file, and its own key without a password as key_file."
                raise ConfigError("client.toml", "cert_file", problem, remedy) from None
        return context

    def stamp(self) -> _Stamp:
        """Mark of the files' state; () while they are being replaced."""
        named = (self.authorities, self.certificate, self.private_key)
        try:
            stats = [Path(file).stat() for file in named if file is not None]
        except OSError:
            return ()
        return tuple((each.st_mtime_ns, each.st_ino, each.st_size) for each in stats)


class RelayTls:
    """TLS context for new connections. Raises ``ConfigError`` where the files cannot be used at the start."""

    def __init__(self, files: RelayTlsFiles) -> None:
        self._files = files
        self._looked_s = monotonic()
        self._stamp = files.stamp()
        self._context = files.context()

    def current(self) -> ssl.SSLContext:
        """The context of the files as they are now, at most ``CHECK_S`` ago; another one where they have changed.

        Files that do not fit each other leave the former ones in use until they change again.
        """
        now_s = monotonic()
        if now_s < self._looked_s + CHECK_S:
            return self._context
        self._looked_s = now_s
        stamp = self._files.stamp()
        if stamp and stamp != self._stamp:
            self._stamp = stamp
            try:
                self._context = self._files.context()
            except ConfigError as error:
                log.warning("changed TLS files are not used yet: %s", error)
        return self._context


def _no_password() -> str:
    """No password: a key that needs one is refused, instead of asking a terminal for it."""
    return ""


def _why(error: OSError) -> str:
    return error.strerror or type(error).__name__
