"""A Redis Cluster: real primaries and replicas on ports of their own."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any, Self

from redis import Redis
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from tests.support.ports import free_port
from tests.support.redis.process import PORT_TRIES, RedisFailed, RedisProcess
from tests.support.waiting import until

PASSWORD = "cluster-password"
READY_WITHIN_S = 30.0
_ALL_SERVED = {b"cluster_state:ok", b"cluster_slots_ok:%d" % REDIS_CLUSTER_HASH_SLOTS}
"""Lines of CLUSTER INFO. Without full coverage the state alone is ``ok`` for a node that knows of a part of the slots."""

NODE_TIMEOUT_MS = 2000
"""Silence after which the others hold a primary to be down, and one of its replicas is elected."""


class RedisCluster:
    """Primaries that share the slots evenly, and for each of them so many replicas.

    Node ``i`` begins as primary ``i``; the replicas come after the primaries, in the same order.
    """

    def __init__(
        self,
        directory: Path,
        *,
        shards: int = 3,
        replicas: int = 0,
        appendonly: bool = False,
        node_timeout_ms: int = NODE_TIMEOUT_MS,
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
                    "cluster-node-timeout": str(node_timeout_ms),
                    "cluster-port": self._bus_ports[i],
                    "cluster-require-full-coverage": "no",
                    "masterauth": PASSWORD,
                    "repl-diskless-sync-delay": "0",
                    "appendfsync": "everysec",
                },
            )
            for i in range(shards * (1 + replicas))
        ]

    def __enter__(self) -> Self:
        for i in range(len(self.nodes)):
            self._start(i)
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

    def _start(self, number: int) -> None:
        """Start a node; with another bus port where that was taken since it was looked for."""
        node = self.nodes[number]
        for _ in range(PORT_TRIES):
            with contextlib.suppress(RedisFailed):
                node.start()
                return
            self._bus_ports[number] = str(free_port())
            node.configure(cluster_port=self._bus_ports[number])
        node.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        for node in self.nodes:
            node.close()

    def is_whole(self) -> bool:
        """Whether every node that runs sees all slots served, its replicas are linked, and there are as many primaries as shards."""
        running = [node for node in self.nodes if node.running]
        with contextlib.suppress(OSError, RedisFailed):
            return all(
                set(node.command("CLUSTER", "INFO").split()) >= _ALL_SERVED
                and node.info("replication").get("master_link_status", "up") == "up"
                for node in running
            ) and (sum(map(self.is_primary, running)) == self.shards)
        return False

    def id_of(self, node: RedisProcess) -> str:
        return node.command("CLUSTER", "MYID").decode()

    def is_primary(self, node: RedisProcess) -> bool:
        """Whether this node runs as a primary."""
        with contextlib.suppress(OSError, RedisFailed):
            return node.running and node.info("replication")["role"] == "master"
        return False

    def replicas_of(self, primary: RedisProcess) -> list[RedisProcess]:
        """The nodes that run as replicas of this one."""
        return [
            node
            for node in self.nodes
            if node.running and node.info("replication").get("master_port") == str(primary.port)
        ]

    def shard_of(self, tenant: str) -> int:
        """Number of the primary that had this tenant's slot at the beginning."""
        slot = self.slot_of(tenant)
        return next(i for i in range(self.shards) if self._begin(i) <= slot < self._begin(i + 1))

    @staticmethod
    def slot_of(tenant: str) -> int:
        return int(key_slot(tenant.encode()))

    def primary_of(self, tenant: str, *, besides: RedisProcess | None = None) -> RedisProcess | None:
        """The node that has the tenant's slot, by the view of a node that runs; None while it is ``besides``."""
        asked = next(node for node in self.nodes if node.running and node is not besides)
        found = self._owner(tenant, asked)
        return None if found is besides else found

    def _owner(self, tenant: str, asked: RedisProcess) -> RedisProcess | None:
        """The node that has the tenant's slot, by the view of ``asked``."""
        slot = self.slot_of(tenant)
        with Redis(port=asked.port, password=PASSWORD) as client:
            ranges: Any = client.execute_command("CLUSTER", "SLOTS")
        port = next((primary[1] for first, last, primary, *_ in ranges if first <= slot <= last), None)
        return next((node for node in self.nodes if node.port == port), None)

    def _source(self, tenant: str) -> RedisProcess:
        """The primary that says of itself that it has the slot."""
        for node in self.nodes:
            if self.is_primary(node) and self._owner(tenant, node) is node:
                return node
        raise LookupError(f"no primary has the slot of {tenant}")

    def begin_move(self, tenant: str, target: RedisProcess) -> None:
        """Say to both nodes that the tenant's slot is moved; until ``end_move`` its keys are on both."""
        source, slot = self._source(tenant), str(self.slot_of(tenant))
        target.command("CLUSTER", "SETSLOT", slot, "IMPORTING", self.id_of(source))
        source.command("CLUSTER", "SETSLOT", slot, "MIGRATING", self.id_of(target))

    def move_keys(self, tenant: str, target: RedisProcess, keys: Sequence[str | bytes]) -> None:
        """Move these keys of the tenant, between ``begin_move`` and ``end_move``, as ``redis-cli --cluster-replace`` does: a key
        that a script wrote at the target meanwhile may still be at the source, too.
        """
        source = self._source(tenant)
        with Redis(port=source.port, password=PASSWORD) as client:
            client.execute_command(
                *("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "REPLACE", "AUTH", PASSWORD),
                *("KEYS", *keys),
            )

    def move_some_keys(self, tenant: str, target: RedisProcess, count: int, rng: Random) -> None:
        """Move so many of the tenant's keys, at random, between ``begin_move`` and ``end_move``."""
        with Redis(port=self._source(tenant).port, password=PASSWORD) as client:
            keys = client.execute_command("CLUSTER", "GETKEYSINSLOT", str(self.slot_of(tenant)), 1000)
        if keys:
            self.move_keys(tenant, target, rng.sample(keys, min(count, len(keys))))

    def end_move(self, tenant: str, target: RedisProcess) -> int:
        """Move what keys there are, and give the slot to ``target``; returns the number of keys."""
        source, slot = self._source(tenant), str(self.slot_of(tenant))
        moved = 0
        with Redis(port=source.port, password=PASSWORD) as client:
            while keys := client.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 20):
                self.move_keys(tenant, target, keys)
                moved += len(keys)
        others = [node for node in self.nodes if node not in {source, target} and self.is_primary(node)]
        for node in (target, source, *others):
            node.command("CLUSTER", "SETSLOT", slot, "NODE", self.id_of(target))
        return moved

    def move(self, tenant: str, target: RedisProcess) -> None:
        """Move the tenant's slot, and wait until all nodes know; nothing where ``target`` has it."""
        if self._source(tenant) is not target:
            self.begin_move(tenant, target)
            self.end_move(tenant, target)
            until(
                lambda: all(self._owner(tenant, node) is target for node in self.nodes),
                f"all nodes know that the slot of {tenant} was moved",
                within_s=READY_WITHIN_S,
            )

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
