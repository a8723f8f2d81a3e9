"""Hosts and ports, of IPv4, IPv6 and names."""

from __future__ import annotations

from pathlib import Path

import pytest

from queueing.config.addresses import bare_host, split_port, with_port
from queueing.config.redis import RedisConfig, SentinelConfig
from queueing.errors import ConfigError
from queueing.redis.connection import connect
from workers.config.settings import ExporterSettings, MetricsSettings
from workers.doctor.redis import address_of


@pytest.mark.parametrize(
    "text, host", [("[::1]", "::1"), ("::1", "::1"), ("redis", "redis"), ("[redis]", "[redis]"), ("", "")]
)
def test_only_an_ipv6_address_loses_its_brackets(text: str, host: str) -> None:
    """They are a URL's; the resolver takes none."""
    assert bare_host(text) == host


@pytest.mark.parametrize(
    "text, pair", [("[::1]:26379", ("::1", 26379)), ("::1:26379", ("::1", 26379)), ("s1:5", ("s1", 5))]
)
def test_host_and_port_are_parted_at_the_last_colon(text: str, pair: tuple[str, int]) -> None:
    """And put together with brackets where the host has colons."""
    assert split_port("f", "nodes", text) == pair
    assert split_port("f", "nodes", with_port(*pair)) == pair


@pytest.mark.parametrize("text", ["s1", "s1:", ":5", "[::1]", "s1:0", "s1:65536", "s1:five", "s1:²", ""])
def test_an_address_without_a_port_is_a_mistake_with_the_right_form(text: str, tmp_path: Path) -> None:
    """A bad address is refused when the file is read, and is no traceback of the first connection."""
    config = RedisConfig(sentinel=SentinelConfig(nodes=(text,), primary="queue"))
    with pytest.raises(ConfigError, match="has no port") as refused:
        config.relative_to(tmp_path)
    assert "[::1]:port" in refused.value.remedy


def test_redis_and_its_sentinels_are_reached_by_ipv6() -> None:
    """In brackets or bare."""
    for host in ("::1", "[::1]"):
        config = RedisConfig(host=host)
        assert connect(config).connection_pool.connection_kwargs["host"] == "::1"
        assert address_of(config) == "[::1]:6379"
    behind = connect(RedisConfig(sentinel=SentinelConfig(nodes=("[::1]:26379",), primary="queue")))
    (sentinel,) = behind.connection_pool.sentinel_manager.sentinels  # type: ignore[attr-defined]
    kwargs = sentinel.connection_pool.connection_kwargs
    assert (kwargs["host"], kwargs["port"]) == ("::1", 26379)


@pytest.mark.parametrize("settings", [MetricsSettings, ExporterSettings])
@pytest.mark.parametrize("host", ["::", "[::]"])
def test_what_is_served_has_an_address_for_urls(
    settings: type[MetricsSettings | ExporterSettings], host: str
) -> None:
    """The host is bare, the address has brackets."""
    assert settings(host=host).host == "::"
    assert settings(host=host, port=9).address == "[::]:9"
