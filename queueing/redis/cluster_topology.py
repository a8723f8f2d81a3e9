"""Topology of a Redis Cluster: the primary of each hash slot, and one pool of connections for each node."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING, Any, Final

from arq.connections import ArqRedis
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MovedError, RedisError, ResponseError

from queueing.aio.owned_tasks import end_tasks
from queueing.aio.single_flight import SingleFlight
from queueing.redis.errors import REDIS_ERRORS
from queueing.redis.pool import shrinking
from queueing.redis.script_answers import check_parsers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from queueing.redis.rotation import TlsFiles

Address = tuple[str, int]

MOST_ASKED: Final = 6
"""Nodes that are asked at once for the slots, at random: the first answer counts, so dead ones delay nothing."""


class Topology:
    """Slots and nodes of one cluster, read when they are first needed, and again after a redirection or a lost node.

    ``start``: some nodes of the cluster; the others are learned. ``options``: of each connection, as redis-py takes them. ``tls``: files that
    each new connection reads again where they changed.
    """

    def __init__(
        self, start: Sequence[Address], options: Mapping[str, Any], tls: TlsFiles | None = None
    ) -> None:
        self._start = tuple(start)
        self._options = dict(options)
        self._tls = tls
        self._owners: list[Address | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        self._members: frozenset[Address] = frozenset()
        self._replicas: frozenset[Address] = frozenset()
        self._nodes: dict[Address, ArqRedis] = {}
        self._flight: SingleFlight[None] = SingleFlight()

    def node(self, address: Address) -> ArqRedis:
        """The pool of this node; nothing is sent."""
        node = self._nodes.get(address)
        if node is None:
            host, port = address
            node = self._nodes[address] = ArqRedis(host=host, port=port, **self._options)
            node.connection_pool = shrinking(node.connection_pool, self._tls)
            check_parsers(node)
        return node

    async def owner(self, key: str | bytes) -> Address:
        """Address of the primary that has the slot of this key. Raises ``ConnectionError`` where none has it."""
        slot = key_slot(key.encode() if isinstance(key, str) else key)
        if self._owners[slot] is None:
            await self.refresh()
        owner = self._owners[slot]
        if owner is None:
            raise RedisConnectionError(f"no node of the cluster serves slot {slot}")
        return owner

    def known_owner(self, key: str | bytes) -> Address | None:
        """Primary of the key's slot by the last topology read, without a query; None if none was read, or no node serves the slot."""
        return self._owners[key_slot(key.encode() if isinstance(key, str) else key)]

    def learn(self, moved: MovedError, asked: Address) -> None:
        """Take the new primary of one slot from a redirection by the node ``asked``."""
        host, port = moved.node_addr
        self._owners[moved.slot_id] = (host or asked[0], port)

    async def primaries(self) -> list[Address]:
        """Addresses of the primaries that have slots, in order."""
        if not any(self._owners):
            await self.refresh()
        return sorted({owner for owner in self._owners if owner is not None})

    async def members(self) -> list[Address]:
        """Addresses of all nodes, replicas too, as the cluster lists them now."""
        await self.refresh()
        return sorted(self._members)

    def any_node(self) -> ArqRedis:
        """Pool of a primary at random; before the first answer, of a node that the configuration names."""
        known = [address for address in self._members if address not in self._replicas]
        return self.node(random.choice(known or list(self._start)))  # noqa: S311 - spreads load

    async def refresh(self) -> None:
        """Read the slots again; callers at the same time share one query. Raises redis-py's errors."""
        await self._flight.run(self._read)

    async def close(self) -> None:
        """Close the connections to all nodes."""
        async with contextlib.AsyncExitStack() as closing:  # each, whatever comes of the others
            for node in self._nodes.values():
                closing.push_async_callback(node.aclose)

    async def _read(self) -> None:
        known = list({*self._members, *self._start})
        random.shuffle(known)
        asked = known[: MOST_ASKED - 1]
        asked += [address for address in self._start if address not in asked][:1]
        tasks = [asyncio.ensure_future(self._slots_by(address)) for address in asked]
        try:
            slots = await _first_answer(tasks)
        finally:
            await end_tasks(tasks)
            for task in tasks:
                if not task.cancelled():
                    task.exception()  # of a node that failed after another one had answered: asyncio would log it
        owners: list[Address | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        members: set[Address] = set()
        replicas: set[Address] = set()
        for first, last, primary, *others in slots:
            owners[first : last + 1] = [primary] * (last + 1 - first)
            members.update((primary, *others))
            replicas.update(others)
        self._owners = owners
        self._members, self._replicas = frozenset(members), frozenset(replicas)
        await self._forget_nodes()

    async def _slots_by(self, asked: Address) -> list[Any]:
        """First and last slot, primary and replicas of each range, as one node knows them."""
        answer: Any = await self.node(asked).execute_command("CLUSTER", "SLOTS")  # type: ignore[no-untyped-call]
        return [
            [int(first), int(last), *(_address(node, asked) for node in nodes)]
            for first, last, *nodes in answer
        ]

    async def _forget_nodes(self) -> None:
        """Drop the pools of nodes that left the cluster, once none of their connections is in use."""
        gone = [
            address
            for address, node in self._nodes.items()
            if address not in self._members
            and address not in self._start
            and not node.connection_pool._in_use_connections  # noqa: SLF001
        ]
        for address in gone:
            with contextlib.suppress(*REDIS_ERRORS):
                await self._nodes.pop(address).aclose()


def _address(node: Sequence[Any], asked: Address) -> Address:
    """Address of a node; it is empty where the node does not know its own, and then it is the one that was asked."""
    host = node[0]
    text = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host or "")
    return (text if text not in {"", "?"} else asked[0], int(node[1]))


async def _first_answer(tasks: Sequence[asyncio.Future[list[Any]]]) -> list[Any]:
    """The first answer that names slots, else the error of a node that said why, or of one that could not be reached."""
    faults: list[Exception] = []
    for done in asyncio.as_completed(tasks):
        try:
            slots = await done
        except REDIS_ERRORS as error:
            faults.append(error)
            continue
        if slots:
            return slots
    said = next((fault for fault in faults if isinstance(fault, ResponseError)), None)
    if said is not None and "cluster support disabled" in str(said):
        raise RedisError("it is no Redis Cluster: name it by `host` instead of `cluster`") from said
    if faults:
        raise said or faults[0]
    raise RedisConnectionError("no node of the cluster knows its slots")
