"""The one place where connections to Redis are made: TLS with hostname check, Sentinel, Cluster, timeouts, retries.

arq's own factory prints its password in a repr, pickles by default, and drops TLS and retry options under
Sentinel; a pool from here goes into ``arq`` as ``redis_pool=``.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from arq.connections import ArqRedis
from redis import exceptions
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff

from queueing.protocol.jobs import deserialize, serialize
from queueing.redis.cluster import ClusterRedis
from queueing.redis.errors import REDIS_ERRORS
from queueing.redis.pool import QueueRedis, close_idle, shrinking
from queueing.redis.rotation import PasswordFile, TlsFiles
from queueing.redis.script_answers import check_parsers
from queueing.redis.sentinel import NewestSentinel, SentinelPool

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from redis.asyncio import Redis

    from queueing.config.redis import RedisConfig, SentinelConfig, TlsConfig
    from queueing.config.secrets import Secret

T = TypeVar("T")

SOCKET_TIMEOUT_S: Final = 5.0
"""Longest silence on a connection: above the slowest script, below a lease (15 s)."""

SENTINEL_SOCKET_TIMEOUT_S: Final = 2.0
"""The same behind Sentinels and in a cluster, where a primary that is silent may have a successor: they are asked after
it, so that work continues within 2 s. Above the longest WAIT."""

CONNECT_TIMEOUT_S: Final = 2.0
RETRIES: Final = 2
"""Repeats of one command on a broken connection; every script but the claim may be run twice without harm. What may not
be is sent by ``queueing.redis.send_once``."""


def connect(config: RedisConfig, *, blocking_s: float = 0.0, password: Secret | None = None) -> ArqRedis:
    """A pool of connections to the primary; nothing is sent before its first command.

    ``blocking_s``: the longest that a command of this pool may block on purpose (XREAD BLOCK).
    ``password``: instead of ``password_file``, for processes that read it already.
    """
    options: dict[str, Any] = {
        "db": config.database,
        **_credentials(config.username, config.password_file, password),
        "socket_timeout": blocking_s
        + (SENTINEL_SOCKET_TIMEOUT_S if config.sentinel or config.cluster else SOCKET_TIMEOUT_S),
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "socket_keepalive": True,
        # No health_check_interval: on a new connection that needs no AUTH, redis-py checks its health before it is
        # set up, which begins by setting it up: a server that is silent then holds one command for ever.
        "lib_name": None,  # CLIENT SETINFO: a round trip, and refused to users by least right
        "lib_version": None,
        "retry": Retry(ExponentialWithJitterBackoff(cap=0.5, base=0.05), RETRIES),
        "retry_on_error": [
            exceptions.ConnectionError,
            exceptions.TimeoutError,
            exceptions.ReadOnlyError,
            exceptions.BusyLoadingError,
        ],
        **_tls_options(config.tls),
    }
    redis = _primary(config, options)
    if config.sentinel is None and config.cluster is None:
        redis.connection_pool = shrinking(redis.connection_pool, _tls_files(config.tls))
    check_parsers(redis)
    redis.job_serializer = serialize
    redis.job_deserializer = deserialize
    return redis


async def with_connection(config: RedisConfig, work: Callable[[ArqRedis], Awaitable[T]]) -> T:
    """Run ``work`` on a pool of its own, and return its result."""
    redis = connect(config)
    try:
        return await work(redis)
    finally:
        await redis.aclose()


def _primary(config: RedisConfig, options: Mapping[str, Any]) -> ArqRedis:
    if config.cluster is not None:
        return ClusterRedis(config.cluster_nodes(), options, _tls_files(config.tls))
    if config.sentinel is not None:
        return _through_sentinel(config, config.sentinel, options)
    if config.unix_socket is not None:
        plain = {k: v for k, v in options.items() if not k.startswith("ssl") and k != "socket_keepalive"}
        return QueueRedis(unix_socket_path=config.unix_socket, **plain)
    return QueueRedis(host=config.host or "localhost", port=config.port, **options)


def _through_sentinel(config: RedisConfig, sentinel: SentinelConfig, options: Mapping[str, Any]) -> ArqRedis:
    """Each new connection asks the Sentinels for the primary, so a failover needs no restart."""
    sentinels = NewestSentinel(  # type: ignore[no-untyped-call]
        sentinel.addresses(),
        sentinel_kwargs={
            **_credentials(sentinel.username, sentinel.password_file),
            "socket_timeout": CONNECT_TIMEOUT_S,
            "socket_connect_timeout": CONNECT_TIMEOUT_S,
            **_tls_options(config.tls),
        },
    )
    redis: ArqRedis = sentinels.master_for(
        sentinel.primary, redis_class=QueueRedis, connection_pool_class=SentinelPool, **options
    )
    tls = _tls_files(config.tls)
    cast("SentinelPool", redis.connection_pool).tls = tls
    for each in sentinels.sentinels:
        each.connection_pool = shrinking(each.connection_pool, tls)
    return redis


async def look_for_primary(redis: Redis) -> None:
    """Leave the server that this pool talks to, where another one is the primary by now.

    Behind Sentinels they are asked, and in a cluster its nodes; otherwise the next command reconnects, so that a name or an address that
    moved is followed. Connections in use stay until their command ends. Raises nothing.
    """
    pool = redis.connection_pool
    with contextlib.suppress(*REDIS_ERRORS):
        if isinstance(redis, ClusterRedis):
            await redis.topology.refresh()
        elif isinstance(pool, SentinelPool):
            await pool.get_master_address()  # type: ignore[no-untyped-call]
        else:
            await close_idle(pool)


def _credentials(username: str | None, file: str | None, password: Secret | None = None) -> dict[str, Any]:
    """Options for AUTH: of the password that was read already, or else of the file, which is read again each time."""
    if password is None and file is not None:
        return {"credential_provider": PasswordFile(username, file)}
    return {"username": username, "password": password.reveal() if password else None}


def _tls_files(tls: TlsConfig | None) -> TlsFiles | None:
    return None if tls is None else TlsFiles(tls)


def _tls_options(tls: TlsConfig | None) -> dict[str, Any]:
    if tls is None:
        return {}
    return {
        "ssl": True,
        "ssl_check_hostname": True,
        "ssl_ca_certs": tls.ca_file,
        "ssl_certfile": tls.cert_file,
        "ssl_keyfile": tls.key_file,
    }
