"""A Redis Cluster: real primaries and replicas on ports of their own."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from redis import Redis
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from tests.support.ports import free_port
from tests.support.redis.process import RedisFailed, RedisProcess
from tests.support.waiting import until

PASSWORD = "cluster-password"
READY_WITHIN_S = 30.0
NODE_TIMEOUT_MS = 2000
"""Silence after which the others hold a primary to be down, and one of its replicas is elected."""


class RedisCluster:
    """Primaries that share the slots evenly, and for each of them so many replicas.

    Node ``i`` begins as primary ``i``; the replicas come after the primaries, in the same order.
    """

    def __init__(
        self, directory: Path, *, shards: int = 3, replicas: int = 0, appendonly: bool = False
    ) -> None:
        self.shards = shards
        self._bus_ports = [str(free_port()) for _ in range(shards * (1 + replicas))]
        self.nodes = [
            RedisProcess(
                directory / f"node-{i}",
                password=PASSWORD,
                appendonly=appendonly,
                settings={
                    "cluster-enabled": "yes",
                    "cluster-node-timeout": str(NODE_TIMEOUT_MS),
                    "cluster-port": self._bus_ports[i],
                    "cluster-require-full-coverage": "no",
                    "masterauth": PASSWORD,
                    "repl-diskless-sync-delay": "0",
                },
            )
            for i in range(shards * (1 + replicas))
        ]

    def __enter__(self) -> Self:
        for node in self.nodes:
            node.start()
        first = self.nodes[0]
        for i, node in enumerate(self.nodes):
            node.command("CLUSTER", "SET-CONFIG-EPOCH", str(i + 1))
            if i:
                first.command("CLUSTER", "MEET", "127.0.0.1", str(node.port), self._bus_ports[i])
        for i, primary in enumerate(self.nodes[: self.shards]):
            primary.command("CLUSTER", "ADDSLOTSRANGE", str(self._begin(i)), str(self._begin(i + 1) - 1))
        until(
            lambda: all(self._knows(node) == len(self.nodes) for node in self.nodes),
            "the nodes know each other",
            within_s=READY_WITHIN_S,
        )
        for i, replica in enumerate(self.nodes[self.shards :]):
            replica.command("CLUSTER", "REPLICATE", self.id_of(self.nodes[i % self.shards]))
        until(self.is_whole, "the cluster serves all slots", within_s=READY_WITHIN_S)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        for node in self.nodes:
            node.close()

    def is_whole(self) -> bool:
        """Whether every node that runs sees all slots served, and its replicas are linked."""
        running = [node for node in self.nodes if node.running]
        with contextlib.suppress(OSError, RedisFailed):
            return all(
                b"cluster_state:ok" in node.command("CLUSTER", "INFO")
                and node.info("replication").get("master_link_status", "up") == "up"
                for node in running
            )
        return False

    def id_of(self, node: RedisProcess) -> str:
        return node.command("CLUSTER", "MYID").decode()

    def shard_of(self, tenant: str) -> int:
        """Number of the primary that had this tenant's slot at the beginning."""
        slot = self.slot_of(tenant)
        return next(i for i in range(self.shards) if self._begin(i) <= slot < self._begin(i + 1))

    @staticmethod
    def slot_of(tenant: str) -> int:
        return int(key_slot(tenant.encode()))

    def primary_of(self, tenant: str, *, besides: RedisProcess) -> RedisProcess | None:
        """The node that has the tenant's slot, by the view of a node that runs; None while it is ``besides``."""
        slot = self.slot_of(tenant)
        asked = next(node for node in self.nodes if node.running and node is not besides)
        with Redis(port=asked.port, password=PASSWORD) as client:
            ranges: Any = client.execute_command("CLUSTER", "SLOTS")
        port = next((primary[1] for first, last, primary, *_ in ranges if first <= slot <= last), None)
        return next((node for node in self.nodes if node.port == port and node is not besides), None)

    def begin_move(self, tenant: str, target: RedisProcess) -> None:
        """Say to both nodes that the tenant's slot is moved; until ``end_move`` its keys are on both."""
        source, slot = self.nodes[self.shard_of(tenant)], str(self.slot_of(tenant))
        target.command("CLUSTER", "SETSLOT", slot, "IMPORTING", self.id_of(source))
        source.command("CLUSTER", "SETSLOT", slot, "MIGRATING", self.id_of(target))

    def move_keys(self, tenant: str, target: RedisProcess, keys: Sequence[str | bytes]) -> None:
        """Move these keys of the tenant, between ``begin_move`` and ``end_move``."""
        source = self.nodes[self.shard_of(tenant)]
        with Redis(port=source.port, password=PASSWORD) as client:
            client.execute_command(
                "MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "AUTH", PASSWORD, "KEYS", *keys
            )

    def end_move(self, tenant: str, target: RedisProcess) -> int:
        """Move what keys there are, and give the slot to ``target``; returns the number of keys."""
        source, slot = self.nodes[self.shard_of(tenant)], str(self.slot_of(tenant))
        moved = 0
        with Redis(port=source.port, password=PASSWORD) as client:
            while keys := client.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 20):
                self.move_keys(tenant, target, keys)
                moved += len(keys)
        for node in (target, source, *(n for n in self.nodes[: self.shards] if n not in {source, target})):
            node.command("CLUSTER", "SETSLOT", slot, "NODE", self.id_of(target))
        return moved

    def table(self, *more: str) -> str:
        """The lines of ``[redis]`` that name some of the nodes, and more lines."""
        named = ", ".join(f'"127.0.0.1:{node.port}"' for node in self.nodes[:2])
        return "\n".join([f"cluster = [{named}]", *more, ""])

    def _begin(self, shard: int) -> int:
        return REDIS_CLUSTER_HASH_SLOTS * shard // self.shards

    def _knows(self, node: RedisProcess) -> int:
        with contextlib.suppress(OSError, RedisFailed):
            said = node.command("CLUSTER", "INFO").decode()
            return int(said.partition("cluster_known_nodes:")[2].split()[0])
        return 0
