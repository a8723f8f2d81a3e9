"""Replicas of a testbed's Redis, on the same machine, and the accept level that counts them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bench.queue.redis_probe import RedisProbe
from workers.dev.worker_process import free_ports

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workers.dev.redis_server import RedisServer

_LINKED_WITHIN_S: Final = 30.0
_TABLE: Final = "[redis]\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replication:
    """Number of replicas, and how many of them a write of workers and clients waits for: none under ``local``."""

    replicas: int
    needed: int = 0

    def in_file(self, text: str) -> str:
        """The configuration file of a worker or a client, with this accept level."""
        if not self.needed:
            return text
        return text.replace(_TABLE, f'{_TABLE}accept = "replicated"\nreplicas = {self.needed}\n', 1)


def follow(probe: RedisProbe, primary: RedisServer, replicas: Sequence[RedisServer]) -> None:
    """Let these servers follow the primary, which gets a port for them; return when all are linked."""
    (port,) = free_ports(1)
    password = primary.password_file.read_text("ascii").strip()
    probe.do(lambda redis: redis.config_set("bind", "127.0.0.1"))
    probe.do(lambda redis: redis.config_set("port", port))
    for replica in replicas:
        own = RedisProbe(replica)
        own.do(lambda redis: redis.config_set("masterauth", password))
        own.do(lambda redis: redis.replicaof("127.0.0.1", port))
        own.close()
    deadline = time.monotonic() + _LINKED_WITHIN_S
    while not _all_online(probe, len(replicas)):
        if time.monotonic() > deadline:
            raise RuntimeError("not all replicas are linked with the primary")
        time.sleep(0.05)


def _all_online(probe: RedisProbe, count: int) -> bool:
    info = probe.info("replication")
    linked = [info.get(f"slave{number}", {}) for number in range(count)]
    return all(replica.get("state") == "online" for replica in linked)
