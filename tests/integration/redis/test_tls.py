"""TLS to Redis and to its Sentinels: the certificate is checked everywhere, the server's name too."""

from __future__ import annotations

from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from queueing.client.epoch_store import EpochStore
from queueing.client.key_directory_cache import KeyDirectoryCache
from queueing.client.service_clock import ServiceClock
from queueing.config.redis import RedisConfig, SentinelConfig, TlsConfig
from queueing.config.secrets import Secret
from queueing.errors import ConfigError
from queueing.redis.connection import connect
from tests.support.fakes.queue_access import access_to
from tests.support.redis.nodes import NAME, SentinelProcess
from tests.support.redis.process import RedisProcess
from tests.support.redis.tls import MakeCertificate, tls_settings
from tests.support.waiting import until


async def ping(config: RedisConfig) -> bool:
    redis = connect(config)
    try:
        return bool(await redis.ping())
    finally:
        await redis.aclose()


def sentinel_config(port: int, folder: Path) -> RedisConfig:
    return RedisConfig(
        sentinel=SentinelConfig(nodes=(f"127.0.0.1:{port}",), primary=NAME),
        tls=TlsConfig(ca_file=str(folder / "ca.pem")),
    )


async def test_sentinel_and_primary_both_speak_tls(tmp_path: Path, make_certificate: MakeCertificate) -> None:
    """With Sentinels too, where arq's own factory drops TLS; an unknown authority or no TLS is refused."""
    ours, other = make_certificate("ours"), make_certificate("other")
    settings = tls_settings(ours)
    with RedisProcess(tmp_path / "redis", settings=settings):
        sentinel = SentinelProcess(
            tmp_path / "sentinel",
            int(settings["tls-port"]),
            quorum=1,
            down_after_ms=5000,
            password=None,
            tls=ours,
        )
        sentinel.start()
        try:
            until(sentinel.is_up, "the Sentinel is up")
            assert await ping(sentinel_config(sentinel.port, ours))
            with pytest.raises(RedisError):
                await ping(sentinel_config(sentinel.port, other))
            place = RedisConfig(host="127.0.0.1", port=int(settings["tls-port"]))
            with pytest.raises(RedisError):
                await ping(place)  # in clear
        finally:
            sentinel.close()


async def test_a_certificate_for_another_server_is_refused(
    tmp_path: Path, make_certificate: MakeCertificate
) -> None:
    """A certificate of a trusted authority for another address is refused."""
    wrong = make_certificate("wrong", "127.0.0.9")
    settings = tls_settings(wrong)
    with RedisProcess(tmp_path / "redis", settings=settings):
        config = RedisConfig(
            host="127.0.0.1", port=int(settings["tls-port"]), tls=TlsConfig(ca_file=str(wrong / "ca.pem"))
        )
        with pytest.raises(RedisError, match=r"(?i)certificate|hostname"):
            await ping(config)


async def test_the_certificate_of_a_name_is_checked_at_each_address_of_it(
    tmp_path: Path, make_certificate: MakeCertificate
) -> None:
    """A connection is made to an address; the certificate is for the name, and not for any server at that address."""
    named = make_certificate("named", "localhost")
    settings = tls_settings(named)
    with RedisProcess(tmp_path / "redis", settings=settings):
        tls = TlsConfig(ca_file=str(named / "ca.pem"))
        port = int(settings["tls-port"])
        assert await ping(RedisConfig(host="localhost", port=port, tls=tls))
        with pytest.raises(RedisError, match=r"(?i)certificate|hostname"):
            await ping(RedisConfig(host="127.0.0.1", port=port, tls=tls))


def directories_of(redis: Redis) -> KeyDirectoryCache:
    return KeyDirectoryCache(
        access_to(redis),
        audience="test",
        tenant="acme",
        pinned=(),
        epochs=EpochStore(None, audience="test", tenant="acme"),
        refresh_s=60.0,
        clock=ServiceClock(access_to(redis), ttl_ms=1000, now_ms=lambda: 0),
    )


async def test_a_client_is_told_at_once_why_a_certificate_is_refused(
    tmp_path: Path, make_certificate: MakeCertificate
) -> None:
    """With Sentinels and without, the error names the certificate, since no retry helps."""
    ours, other = make_certificate("ours"), make_certificate("other")
    settings = tls_settings(ours)
    port = int(settings["tls-port"])
    ca_file = str(other / "ca.pem")
    with RedisProcess(tmp_path / "redis", settings=settings):
        sentinel = SentinelProcess(
            tmp_path / "sentinel", port, quorum=1, down_after_ms=5000, password=None, tls=ours
        )
        sentinel.start()
        try:
            until(sentinel.is_up, "the Sentinel is up")
            for config in (
                RedisConfig(host="127.0.0.1", port=port, tls=TlsConfig(ca_file=ca_file)),
                sentinel_config(sentinel.port, other),
            ):
                redis = connect(config)
                directories = directories_of(redis)
                try:
                    with pytest.raises(ConfigError, match="certificate of Redis is refused"):
                        await directories.directory()
                finally:
                    await directories.close()
                    await redis.aclose()
        finally:
            sentinel.close()


@pytest.mark.parametrize(
    "mistake", ["password", "no password", "clear to TLS", "TLS to clear", "host", "rights"]
)
async def test_a_failure_that_no_retry_can_change_ends_with_its_reason(
    tmp_path: Path, make_certificate: MakeCertificate, monkeypatch: pytest.MonkeyPatch, mistake: str
) -> None:
    """The error names a wrong login, missing rights, an unknown host, or TLS on one side only."""
    if mistake == "TLS to clear":  # Redis waits for the rest of a command: each try ends by its time-out
        monkeypatch.setattr("queueing.redis.connection.CONNECT_TIMEOUT_S", 0.2)
    ours = make_certificate("ours")
    settings = tls_settings(ours)
    tls = TlsConfig(ca_file=str(ours / "ca.pem"))
    with RedisProcess(tmp_path / "redis", password="good", settings=settings) as server:
        server.command("ACL", "SETUSER", "narrow", "on", ">good", "+ping")
        clear, encrypted = server.port, int(settings["tls-port"])
        config, reason = {
            "password": (RedisConfig(host="127.0.0.1", port=clear), "refuses the login"),
            "no password": (RedisConfig(host="127.0.0.1", port=clear), "refuses the login"),
            "clear to TLS": (RedisConfig(host="127.0.0.1", port=encrypted), "speaks TLS"),
            "TLS to clear": (RedisConfig(host="127.0.0.1", port=clear, tls=tls), "speaks no TLS"),
            "host": (RedisConfig(host="nosuch.invalid", port=clear), "host of Redis is unknown"),
            "rights": (RedisConfig(host="127.0.0.1", port=clear, username="narrow"), "refuses the command"),
        }[mistake]
        password = {"password": Secret("bad"), "no password": None}.get(mistake, Secret("good"))
        redis = connect(config, password=password)
        directories = directories_of(redis)
        try:
            with pytest.raises(ConfigError, match=reason):
                await directories.directory()
        finally:
            await directories.close()
            await redis.aclose()
