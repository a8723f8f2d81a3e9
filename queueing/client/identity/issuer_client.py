"""Client of the issuer of grants: one request for one grant."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from queueing.client.identity.requests import Request, RequestFailed, send
from queueing.errors import (
    BY_REASON,
    ConfigError,
    IdentityRefused,
    IdentityUnavailable,
    IssuerUnavailable,
    ResultInvalid,
)
from queueing.protocol.grants.grant_request import (
    CHECK_PATH,
    MAX_ANSWER_BYTES,
    PATH,
    GrantError,
    encode_json,
    read_answer,
    read_judgement,
)

if TYPE_CHECKING:
    from queueing.client.identity.requests import Answer
    from queueing.client.identity.settings import IdentitySettings, IssuerSettings
    from queueing.errors import SigningError
    from queueing.protocol.grants.grant_request import GrantIssued, GrantJudged, GrantRequest

_HEADERS = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "sigmill"}


class IssuerClient:
    """Client of one issuer. Certificates are read again for each request: those of workloads live for an hour."""

    def __init__(self, issuer: IssuerSettings, identity: IdentitySettings) -> None:
        self._url = issuer.url.rstrip("/")
        self._issuer = issuer
        self._identity = identity
        if issuer.ca_file is not None:
            self._authorities()

    async def request(self, request: GrantRequest) -> GrantIssued:
        """The grant. Raises the issuer's error, ``IssuerUnavailable`` where it does not answer, or ``ResultInvalid``."""
        answer = await self._ask(PATH, request)
        try:
            found = read_answer(answer.status, answer.body)
        except ResultInvalid as error:
            raise _no_answer(error, answer) from None
        if isinstance(found, GrantError):
            raise _error(found, answer)
        return found

    async def check(self, request: GrantRequest) -> GrantJudged:
        """The issuer's judgement alone: nothing is signed, and the token stays free for any key. Raises as ``request``."""
        answer = await self._ask(CHECK_PATH, request)
        try:
            found = read_judgement(answer.status, answer.body)
        except ResultInvalid as error:
            raise _no_answer(error, answer) from None
        if isinstance(found, GrantError):
            raise _error(found, answer)
        return found

    async def _ask(self, path: str, request: GrantRequest) -> Answer:
        url = self._url + path
        message = Request(url=url, headers=_HEADERS, body=encode_json(request), most_bytes=MAX_ANSWER_BYTES)
        tls = self._tls() if self._issuer.has_tls else None
        try:
            return await send(message, timeout_s=self._issuer.timeout_s, tls=tls)
        except RequestFailed as error:
            raise IssuerUnavailable(f"the issuer at {self._issuer.url} does not answer: {error}") from None

    def _authorities(self) -> ssl.SSLContext:
        """Context with the issuer's authorities; ``ConfigError`` for a file that cannot be used."""
        try:
            return ssl.create_default_context(cafile=self._issuer.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                "client.toml",
                "issuer.ca_file",
                f"cannot be used: {error}",
                "Name a PEM file of its authorities.",
            ) from None

    def _tls(self) -> ssl.SSLContext:
        """Context of a connection, with the certificate of the identity as its file has it now."""
        identity, context = self._identity, self._authorities()
        if identity.certificate_file is not None:
            try:
                context.load_cert_chain(identity.certificate_file, identity.private_key_file)
            except (OSError, ssl.SSLError) as error:
                raise IdentityUnavailable(
                    f"the certificate {identity.certificate_file} with the key {identity.private_key_file} cannot be used: "
                    f"{error.strerror or error}",
                    hint="Name the certificate and its unencrypted key, in PEM, in `identity` of client.toml.",
                ) from None
        return context


def _no_answer(error: ResultInvalid, answer: Answer) -> SigningError:
    """Error for an answer that is none of an issuer."""
    if answer.status >= 500:  # a proxy before it says that it is away
        return IssuerUnavailable(
            f"the issuer answers HTTP {answer.status}", retry_after_s=answer.retry_after_s
        )
    return error


def _error(found: GrantError, answer: Answer) -> SigningError:
    kind = BY_REASON.get(found.code)
    if kind is None:
        away = answer.status >= 500 or answer.status == 429
        kind = IssuerUnavailable if away else IdentityRefused
    return kind(
        found.message or f"the issuer answers HTTP {answer.status}",
        retry_after_s=answer.retry_after_s,
        hint=found.hint or None,
    )
