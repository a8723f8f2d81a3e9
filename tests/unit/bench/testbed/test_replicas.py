"""Accept level of a testbed, as the configuration files of its workers and clients have it."""

from __future__ import annotations

import tomllib

import msgspec
import pytest

from bench.testbed.replicas import Replication
from queueing.config.accept_level import ReplicaWait
from queueing.config.redis import RedisConfig

FILE = """[service]
audience = "bench"

[redis]
unix_socket = "/run/redis.sock"

[metrics]
port = 9100
"""


@pytest.mark.parametrize("needed", [1, 2])
def test_writes_wait_for_the_replicas_that_are_needed(needed: int) -> None:
    """The level is in the table of Redis, whatever tables follow; it counts fewer replicas than there are, too."""
    text = Replication(replicas=2, needed=needed).in_file(FILE)
    config = msgspec.convert(tomllib.loads(text)["redis"], RedisConfig)
    wait = config.replica_wait()
    assert wait == ReplicaWait(replicas=needed, timeout_s=config.replica_timeout_s)
    assert tomllib.loads(text)["metrics"] == {"port": 9100}


def test_a_file_under_local_stays_as_it_is() -> None:
    """Replicas that no write waits for change no file."""
    assert Replication(replicas=2).in_file(FILE) == FILE
