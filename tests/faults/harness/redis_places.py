"""Redis of a run: one server, three nodes with Sentinels, or a cluster of three primaries with a replica each.

Behind Sentinels and in a cluster ``accept`` is ``replicated``: then a failover may lose nothing. Under ``local`` it may
(``docs/accept-levels.md``), which no checker could tell from a fault.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tests.support.redis.cluster import RedisCluster
from tests.support.redis.nodes import RedisNodes
from tests.support.redis.process import RedisProcess

SNAPSHOTS_FAIL = {"dbfilename": "blocked.rdb"}
"""A setting of the server: a rename onto a directory of that name fails."""

NODE_TIMEOUT_MS = 4000
"""Until a primary that died is replaced the others have to show that they go on."""

_REPLICATED = ('accept = "replicated"', "replicas = 1", "replica_timeout_s = 0.3")


class Deployment(StrEnum):
    """Kinds of Redis that a run has."""

    ONE = "one server"
    SENTINEL = "Sentinel"
    CLUSTER = "cluster"


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisPlace:
    """Running Redis. ``first`` is the only server, or one of them; ``table`` are the lines of ``[redis]`` that lead to all."""

    deployment: Deployment
    first: RedisProcess
    table: str = ""
    sentinels: RedisNodes | None = None
    cluster: RedisCluster | None = None


@contextlib.contextmanager
def open_redis(deployment: Deployment, folder: Path, *, spread: list[str]) -> Iterator[RedisPlace]:
    """Start it in ``folder``; it ends with the block. ``spread``: tenants that a cluster has on different shards, in turn."""
    match deployment:
        case Deployment.ONE:
            with RedisProcess(
                folder / "redis", password="faults-redis-password", appendonly=True, settings=SNAPSHOTS_FAIL
            ) as redis:
                yield RedisPlace(deployment=deployment, first=redis)
        case Deployment.SENTINEL:
            with RedisNodes(folder / "nodes", sentinels=3) as nodes:
                yield RedisPlace(
                    deployment=deployment,
                    first=nodes.nodes[0],
                    table=nodes.table(*_REPLICATED),
                    sentinels=nodes,
                )
        case Deployment.CLUSTER:
            with RedisCluster(
                folder / "nodes", replicas=1, appendonly=True, node_timeout_ms=NODE_TIMEOUT_MS
            ) as cluster:
                for i, tenant in enumerate(spread):
                    cluster.move(tenant, cluster.nodes[i % cluster.shards])
                yield RedisPlace(
                    deployment=deployment,
                    first=cluster.nodes[0],
                    table=cluster.table(*_REPLICATED),
                    cluster=cluster,
                )
