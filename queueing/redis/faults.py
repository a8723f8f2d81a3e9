"""Reasons of redis-py's errors, and those among them that a retry cannot change.

redis-py wraps what the operating system and OpenSSL say in its own ``ConnectionError``, with the cause in the chain.
"""

from __future__ import annotations

import re
import socket
import ssl
from typing import TYPE_CHECKING, Final

from redis.exceptions import (
    AuthenticationError,
    ClusterDownError,
    MovedError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
)

from queueing.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

_REMEDY: Final = (
    "Name the authority that issued it in ca_file, and reach Redis by a name that it was issued for;"
    " `openssl s_client -x509_strict -CAfile CA_FILE -connect HOST:PORT` shows what is wrong. From 3.13 on Python asks for"
    " subject and authority key identifiers, and for a critical basicConstraints of the authority (RFC 5280)."
)

_LOGIN_REMEDY: Final = "Compare `username` and `password_file` with what the operator set; `sigmill tenants acl` shows the users."
_ACL_REMEDY: Final = "Compare `tenant` and `username`; the operator's `sigmill tenants acl` prints the rights of a tenant's user."
_SCRIPT_POSITION: Final = re.compile(r"\.? script: [0-9a-f]{40}, on @user_script:\d+\.?\Z")
"""Where in a Lua script Redis refused a command: it is the same for every write, and tells an operator nothing."""

_NO_SUCH_HOST: Final = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))


_SERVER_WIDE: Final = (NoPermissionError, OutOfMemoryError, ReadOnlyError, ClusterDownError)
_SERVER_WIDE_CODES: Final = ("MISCONF", "NOREPLICAS")
"""No snapshot can be written; too few replicas (min-replicas-to-write). redis-py has no classes for them."""


_SHARDS: Final = "this Redis is a cluster with several shards"
_NAME_THE_CLUSTER: Final = (
    'Name some of its nodes in [redis]: cluster = ["HOST:PORT", …], in sigmill.toml and in each client.toml, instead of'
    " `host`, `unix_socket` or `sentinel`."
)


def reason_of(error: BaseException) -> str:
    """Reason of the error in one line: for a certificate its own fault, otherwise class and text of the error.

    The text of a redirection is for programs: a client that gets it here is connected to one node of a cluster without being configured for one.
    """
    if isinstance(error, MovedError):
        return f"{type(error).__name__}: {_SHARDS}: name some of its nodes in [redis] as `cluster`, instead of `host`"
    fault = _certificate_fault(error)
    if fault is not None:
        return f"the certificate of Redis is refused: {fault}"
    alert = _certificate_alert(error)
    if alert is not None:
        return f"Redis refuses the client certificate (cert_file of [redis.tls]): {alert}"
    return f"{type(error).__name__}: {_SCRIPT_POSITION.sub('', str(error))}"


def is_server_wide(error: BaseException) -> bool:
    """Whether a refusal lies in the server or in the rights of its user: it meets every key and every tenant."""
    return isinstance(error, _SERVER_WIDE) or str(error).startswith(_SERVER_WIDE_CODES)


def refuse_final(error: BaseException) -> None:
    """Raise ``ConfigError`` for what a retry cannot change: a certificate, a login or a command that was refused."""
    fault = _certificate_fault(error)
    if fault is not None:
        raise ConfigError(
            "[redis.tls]", "ca_file", f"the certificate of Redis is refused: {fault}", _REMEDY
        ) from error
    for each in _chain(error):
        if isinstance(each, AuthenticationError):
            problem = f"Redis refuses the login: {each}"
            raise ConfigError("[redis]", "password_file", problem, _LOGIN_REMEDY) from error
        if isinstance(each, NoPermissionError):
            problem = f"Redis refuses the command to this user: {each}"
            raise ConfigError("[redis]", "username", problem, _ACL_REMEDY) from error


def refuse_unknown_host(error: BaseException) -> None:
    """Raise ``ConfigError`` where the resolver knows no such host; it may also be about to learn it, so not at once."""
    for each in _chain(error):
        if isinstance(each, socket.gaierror) and each.errno in _NO_SUCH_HOST:
            problem = f"the host of Redis is unknown: {each.strerror}"
            raise ConfigError("[redis]", "host", problem, "Correct the name, or the resolver.") from error


def refuse_unnamed_cluster(error: BaseException) -> None:
    """Raise ``ConfigError`` where Redis is a cluster of several shards, and the configuration names one node."""
    if isinstance(error, MovedError):
        raise ConfigError("[redis]", "cluster", f"is not set, and {_SHARDS}", _NAME_THE_CLUSTER) from error


def _certificate_fault(error: BaseException) -> str | None:
    for each in _chain(error):
        if isinstance(each, ssl.SSLCertVerificationError):
            return each.verify_message.rstrip(".") or str(each)
    return None


def _certificate_alert(error: BaseException) -> str | None:
    """Alert by which the server refused our certificate (RFC 8446, section 6.2), or asked for one."""
    for each in _chain(error):
        reason = each.reason if isinstance(each, ssl.SSLError) and isinstance(each.reason, str) else ""
        _, is_alert, alert = reason.partition("_ALERT_")
        if is_alert and ("CERTIFICATE" in alert or alert == "UNKNOWN_CA"):
            return alert.lower().replace("_", " ")
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
