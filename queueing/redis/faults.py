"""Reasons of redis-py's errors, and those among them that no retry mends.

redis-py wraps what the operating system and OpenSSL say in its own ``ConnectionError``, with the cause in the chain.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Final

from queueing.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

_REMEDY: Final = (
    "Name the authority that issued it in ca_file, and reach Redis by a name that it was issued for;"
    " `openssl s_client -x509_strict -CAfile CA_FILE -connect HOST:PORT` shows what is wrong. From 3.13 on Python asks for"
    " subject and authority key identifiers, and for a critical basicConstraints of the authority (RFC 5280)."
)


def reason_of(error: BaseException) -> str:
    """Reason of the error in one line: for a certificate its own fault, otherwise class and text of the error."""
    fault = _certificate_fault(error)
    return (
        f"{type(error).__name__}: {error}"
        if fault is None
        else f"the certificate of Redis is refused: {fault}"
    )


def refuse_certificate(error: BaseException) -> None:
    """Raise ``ConfigError`` where the server's certificate was refused: it will be the next time, too."""
    fault = _certificate_fault(error)
    if fault is not None:
        raise ConfigError(
            "[redis.tls]", "ca_file", f"the certificate of Redis is refused: {fault}", _REMEDY
        ) from error


def _certificate_fault(error: BaseException) -> str | None:
    for each in _chain(error):
        if isinstance(each, ssl.SSLCertVerificationError):
            return each.verify_message.rstrip(".") or str(each)
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
