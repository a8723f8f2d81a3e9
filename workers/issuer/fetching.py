"""Fetching of a provider's public keys over HTTPS: bounded in size and time, without redirects.

The keys decide which tokens are believed: the connection is verified, the provider's own configuration must name the issuer that
is asked for, and what comes must have a usable key.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import urlsplit

import msgspec

from workers.issuer.identity.provider_keys import MAX_KEYS, KeysFile, bare_keys, usable_keys
from workers.issuer.settings import Url

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAX_BODY_BYTES: Final = 256 * 1024
TIMEOUT_S: Final = 10.0
"""For each of the two requests, from the connection to the last byte."""

_READ_BYTES: Final = 16 * 1024
_DISCOVERY: Final = "/.well-known/openid-configuration"
"""OpenID Connect Discovery 4: appended to the issuer without its last slash."""


class FetchFailed(Exception):
    """The keys could not be fetched; the message says why."""


class _Discovery(msgspec.Struct, frozen=True):
    issuer: str
    jwks_uri: Url


class _Jwks(msgspec.Struct, frozen=True):
    keys: Annotated[tuple[dict[str, Any], ...], msgspec.Meta(min_length=1, max_length=MAX_KEYS)]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySource:
    """Source of a provider's keys: its ``iss``, the address of its keys where it is given, and the authorities of its TLS."""

    issuer_url: str
    jwks_url: str | None = None
    ca_file: Path | None = None


def fetch_keys(source: KeySource, now_s: float) -> KeysFile:
    """The provider's keys now. Raises ``FetchFailed``. Takes at most twice ``TIMEOUT_S``."""
    try:
        context = ssl.create_default_context(cafile=None if source.ca_file is None else str(source.ca_file))
    except (OSError, ssl.SSLError) as error:
        raise FetchFailed(f"{source.ca_file} cannot be used: {error.strerror or error}") from None
    url = source.jwks_url or _discovered(source.issuer_url, context)
    try:
        jwks = msgspec.json.decode(_get(url, context), type=_Jwks)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise FetchFailed(f"{url} gives no JWKS: {type(error).__name__}") from None
    usable, repeated = usable_keys(jwks.keys)
    if not usable and not repeated:
        raise FetchFailed(f"{url} has no key that verifies tokens")
    return KeysFile(issuer_url=source.issuer_url, fetched_ms=int(now_s * 1000), keys=bare_keys(jwks.keys))


def _discovered(issuer_url: str, context: ssl.SSLContext) -> str:
    url = issuer_url.rstrip("/") + _DISCOVERY
    try:
        found = msgspec.json.decode(_get(url, context), type=_Discovery)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise FetchFailed(f"{url} gives no OpenID configuration with an https `jwks_uri`") from None
    if found.issuer != issuer_url:
        raise FetchFailed(f"{url} is the configuration of another issuer")
    return found.jwks_uri


def _get(url: str, context: ssl.SSLContext) -> bytes:
    """Body of the answer to a GET. Raises ``FetchFailed`` for anything but 200, and for an answer that is too long or too slow."""
    ends_s = time.monotonic() + TIMEOUT_S
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 443
        with (
            socket.create_connection((host, port), timeout=TIMEOUT_S / 4) as plain,  # of each address
            _cut_at(plain, ends_s),
        ):
            plain.settimeout(TIMEOUT_S)
            connection = http.client.HTTPSConnection(host, port, context=context)
            connection.sock = context.wrap_socket(plain, server_hostname=host)
            try:
                target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
                connection.request("GET", target, headers={"Accept": "application/json"})
                answer = connection.getresponse()
                if answer.status != 200:
                    raise FetchFailed(f"{url} answers with status {answer.status}")
                body = _body(url, answer)
            finally:
                connection.close()
        if time.monotonic() < ends_s:
            return body
        raise FetchFailed(f"{url} takes longer than {TIMEOUT_S:g} s")  # the end of what came may be the cut
    except (OSError, http.client.HTTPException, ValueError) as error:
        if time.monotonic() >= ends_s:
            raise FetchFailed(f"{url} takes longer than {TIMEOUT_S:g} s") from None
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise FetchFailed(f"{url} cannot be reached: {why}") from None


@contextlib.contextmanager
def _cut_at(connection: socket.socket, ends_s: float) -> Iterator[None]:
    """Within the block the connection is cut at this time (monotonic): a peer that sends a byte now and then meets no time-out."""
    with connection.dup() as handle:  # TLS takes the other one over
        timer = threading.Timer(ends_s - time.monotonic(), _cut, [handle])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()


def _cut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # the peer was faster
        connection.shutdown(socket.SHUT_RDWR)


def _body(url: str, answer: http.client.HTTPResponse) -> bytes:
    body = b""
    while chunk := answer.read1(_READ_BYTES):
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise FetchFailed(f"{url} answers with more than {MAX_BODY_BYTES} bytes")
    return body
