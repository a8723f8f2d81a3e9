"""Password and TLS files of Redis, read again for each new connection: they are rotated without a restart.

Connections that are open stay as they are: Redis asks for the password once, and TLS for the certificates. A file that
cannot be read or used at that moment, as in the middle of its replacement, leaves what was read before in use.
"""

from __future__ import annotations

import logging
import os
import ssl
import time
from typing import TYPE_CHECKING, Final

from redis.asyncio.connection import RedisSSLContext
from redis.credentials import CredentialProvider

from queueing.config.secrets import Secret
from queueing.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from queueing.config.redis import TlsConfig

log = logging.getLogger("sigmill.redis")

SETTLED_S: Final = 2.0
"""Age from which the time of a file tells its content: two writes within a tick of the kernel's clock have one time."""

Credentials = tuple[str] | tuple[str, str]
_Stamp = tuple[tuple[int, ...], ...]


class PasswordFile(CredentialProvider):
    """User and password for AUTH; raises ``ConfigError`` where the file cannot be read from the beginning."""

    def __init__(self, username: str | None, file: str) -> None:
        self._username = username
        self._file = file
        self._password = Secret.from_file(file)
        self._failure = ""

    def get_credentials(self) -> Credentials:
        """The credentials as they are in the file now."""
        try:
            self._password, self._failure = Secret.from_file(self._file), ""
        except ConfigError as error:
            self._failure = _report(str(error), self._failure)
        password = self._password.reveal()
        return (password,) if self._username is None else (self._username, password)

    async def get_credentials_async(self) -> Credentials:
        """The credentials as they are in the file now; it has 4 KiB at most, and so is read on the event loop."""
        return self.get_credentials()


class TlsFiles(RedisSSLContext):
    """TLS context of the files as they are now; made again when one of them has changed."""

    def __init__(self, tls: TlsConfig, *, clock_s: Callable[[], float] = time.time) -> None:
        super().__init__(
            keyfile=tls.key_file,
            certfile=tls.cert_file,
            cert_reqs="required",
            ca_certs=tls.ca_file,
            check_hostname=True,
        )
        self._files = [file for file in (tls.ca_file, tls.cert_file, tls.key_file) if file is not None]
        self._clock_s = clock_s
        self._stamp: _Stamp | None = None
        self._failure = ""

    def get(self) -> ssl.SSLContext:
        """The context for a new connection. Raises ``OSError`` where none could be made yet."""
        before = self.context
        try:
            stamp = tuple(_stamp(os.stat(file)) for file in self._files)  # noqa: PTH116 - a link counts by its target
            if before is not None and stamp == self._stamp:
                return before
            self.context = None
            made: ssl.SSLContext = super().get()
        except OSError as error:  # ssl.SSLError is one
            self.context = before
            if before is None:
                raise
            self._failure = _report(f"{', '.join(self._files)}: {error}", self._failure)
            return before
        settled = all(changed_ns / 1e9 < self._clock_s() - SETTLED_S for *_, changed_ns in stamp)
        self._stamp, self._failure = stamp if settled else None, ""
        return made


def _stamp(status: os.stat_result) -> tuple[int, ...]:
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _report(failure: str, before: str) -> str:
    """Log a failure once; returns it."""
    if failure != before:
        log.warning("files for Redis cannot be read again; what was read before stays in use: %s", failure)
    return failure
