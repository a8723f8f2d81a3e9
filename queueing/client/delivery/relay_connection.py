"""Connection of a client to a relay: HTTPS by aiohttp, with what goes wrong translated at this one place."""

from __future__ import annotations

import contextlib
import errno
import socket
import ssl
from typing import TYPE_CHECKING, Final

import aiohttp
import msgspec

from queueing.client.delivery.relay_messages import LARGEST_ANSWER_BYTES, MESSAGE_TYPE
from queueing.client.delivery.relay_tls import RelayTls, RelayTlsFiles
from queueing.errors import ConfigError, QueueUnavailable, SigningError
from queueing.protocol.jobs import WireError

if TYPE_CHECKING:
    from collections.abc import Iterator

ANSWER_S: Final = 10.0
"""Longest wait for an answer, beyond the time that the request itself asks the relay to wait."""

CONNECT_S: Final = 5.0
IDLE_S: Final = 8.0
"""A connection that was idle for so long is not used again: the relay closes it after ten."""

_CONNECTIONS: Final = 16
MOST_REFUSAL_BYTES: Final = 16 * 1024
"""Above the longest refusal: a few sentences, which are shown to people."""

_REMEDY: Final = (
    "Name the authority that issued it in ca_file, and write the url with a name that it was issued for;"
    " `openssl s_client -CAfile CA_FILE -connect HOST:PORT` shows what is wrong."
)

_CLOSED: Final = (
    "it closes the connection without an answer; a relay that wants a certificate of its clients does so where `cert_file` is missing,"
    " or its certificate has expired or is of another authority"
)
"""TLS 1.3 refuses a client after the handshake, and asyncio keeps the alert (RFC 8446 6.2) to itself."""


class NoRelay(QueueUnavailable):
    """The address answers, and not as a relay does."""


class RelayConnection:
    """HTTPS to one relay. Every failure is a ``SigningError``: retryable unless the relay says that it is final."""

    def __init__(self, url: str, files: RelayTlsFiles) -> None:
        self._url = url.rstrip("/")
        self._tls = RelayTls(files)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_CONNECTIONS, keepalive_timeout=IDLE_S, force_close=False),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "sigmill"},
            auto_decompress=False,
        )

    async def post(self, path: str, body: bytes, *, wait_s: float = 0.0) -> bytes:
        """Answer to a request that may be repeated without harm. ``wait_s``: time that the relay is asked to wait.

        Raises ``QueueUnavailable``, or the error that the relay names.
        """
        return await self._ask("POST", path, body, wait_s)

    async def get(self, path: str) -> bytes:
        """Answer to a question without a body; raises as ``post``."""
        return await self._ask("GET", path, None, 0.0)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def _ask(self, method: str, path: str, body: bytes | None, wait_s: float) -> bytes:
        timeout = aiohttp.ClientTimeout(total=ANSWER_S + wait_s, sock_connect=CONNECT_S)
        headers = {"Content-Type": MESSAGE_TYPE} if body is not None else {}
        try:
            try:
                status, kind, answer = await self._once(method, path, body, headers, timeout)
            except aiohttp.ServerDisconnectedError:  # an idle connection that the relay has closed meanwhile
                status, kind, answer = await self._once(method, path, body, headers, timeout)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise QueueUnavailable(f"cannot reach the relay: {reason_of(error)}") from error
        if kind == MESSAGE_TYPE:
            return answer
        raise refusal_of(status, answer)

    async def _once(
        self,
        method: str,
        path: str,
        body: bytes | None,
        headers: dict[str, str],
        timeout: aiohttp.ClientTimeout,
    ) -> tuple[int, str, bytes]:
        async with self._session.request(
            method,
            self._url + path,
            data=body,
            headers=headers,
            timeout=timeout,
            allow_redirects=False,
            ssl=self._tls.current(),  # a connection of former files is not used again
        ) as answer:
            raw = bytearray()
            async for part in answer.content.iter_chunked(256 * 1024):
                raw += part
                if len(raw) > LARGEST_ANSWER_BYTES:
                    raise aiohttp.ClientPayloadError("the answer is longer than any of a relay")
            return answer.status, answer.content_type, bytes(raw)


def refuse_final(error: BaseException) -> None:
    """Raise ``ConfigError`` for a certificate that is refused, which a retry cannot change."""
    fault = _certificate_fault(error)
    if fault is not None:
        problem = f"the certificate of the relay is refused: {fault}"
        raise ConfigError("client.toml", "ca_file", problem, _REMEDY) from error


def refuse_wrong_address(error: BaseException) -> None:
    """Raise ``ConfigError`` for a host that the resolver does not know, and for a port that speaks no TLS."""
    for each in _chain(error):
        if isinstance(each, socket.gaierror) and each.errno == socket.EAI_NONAME:
            problem = f"the host of the relay is unknown: {each.strerror}"
            raise ConfigError("client.toml", "url", problem, "Correct the name, or the resolver.") from error
        if isinstance(each, ssl.SSLError) and each.reason in {"WRONG_VERSION_NUMBER", "HTTP_REQUEST"}:
            raise ConfigError(
                "client.toml", "url", "the port speaks no TLS", "Give the port of `sigmill relay`."
            ) from error


def reason_of(error: BaseException) -> str:
    """Reason in one line: for a certificate its own fault, otherwise class and text of the error."""
    fault = _certificate_fault(error)
    if fault is not None:
        return f"its certificate is refused: {fault}"
    if isinstance(error, aiohttp.ServerDisconnectedError) or _is_reset(error):
        return _CLOSED
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    return f"{type(error).__name__}: {error}"


def _is_reset(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno == errno.ECONNRESET


def _certificate_fault(error: BaseException) -> str | None:
    for each in _chain(error):
        cause = each.certificate_error if isinstance(each, aiohttp.ClientConnectorCertificateError) else each
        if isinstance(cause, ssl.SSLCertVerificationError):
            return getattr(cause, "verify_message", "").rstrip(".") or str(cause)
    return None


def refusal_of(status: int, answer: bytes) -> SigningError:
    """Error that a relay names in an answer that is no message; ``NoRelay`` for one that names none, or is longer than any."""
    if len(answer) <= MOST_REFUSAL_BYTES:
        with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return msgspec.json.decode(answer, type=WireError).error()
    return NoRelay(f"the address answers HTTP {status}, and not as a relay does")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
