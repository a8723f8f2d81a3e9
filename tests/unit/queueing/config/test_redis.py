"""Address of Redis, by the configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from queueing.config.redis import RedisConfig
from queueing.errors import ConfigError


def test_a_cluster_is_one_place() -> None:
    """Beside a host it is one too many."""
    assert RedisConfig(cluster=("a:1", "b:2")).places() == 1
    assert RedisConfig(cluster=("a:1",), host="a").places() == 2


def test_nodes_of_a_cluster_may_be_addresses_of_either_kind() -> None:
    """An IPv6 address stands in brackets."""
    assert RedisConfig(cluster=("a:1", "[::1]:2")).cluster_nodes() == [("a", 1), ("::1", 2)]


@pytest.mark.parametrize(
    "config, named",
    [
        (RedisConfig(cluster=("a",)), "has no port"),
        (RedisConfig(cluster=("a:1",), database=1), "one database"),
    ],
)
def test_a_setting_that_no_cluster_can_have_is_refused(config: RedisConfig, named: str) -> None:
    """The error comes when the file is read, and not at the first command."""
    with pytest.raises(ConfigError, match=named):
        config.relative_to(Path("/etc/sigmill"))
