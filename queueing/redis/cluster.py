"""Redis Cluster: one client for many shards, with the interface of the client of a single Redis.

A command goes to the primary of its key's slot; a pipeline is split by node, and its parts run at the same time. What
needs one connection for several commands (scripts with their WAIT, commands that are sent once) asks ``each_on_its_node``.
Redirections (MOVED, ASK) are followed, also in the middle of a pipeline: a node that redirects has carried out nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from arq.connections import ArqRedis
from redis.asyncio.client import Pipeline
from redis.exceptions import (
    AskError,
    MovedError,
    RedisClusterException,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError

from queueing.redis.cluster_topology import Topology
from queueing.redis.command_keys import key_of
from queueing.redis.errors import REDIS_ERRORS, AnswerLost
from queueing.redis.faults import reason_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from redis.asyncio import Redis
    from redis.asyncio.client import PubSub

    from queueing.redis.cluster_topology import Address
    from queueing.redis.rotation import TlsFiles

    Send = Callable[[Redis, Sequence[int], bool], Awaitable[list[Any]]]

MOST_REDIRECTIONS: Final = 5
ASKING: Final = ("ASKING",)


@dataclass(frozen=True, slots=True)
class Place:
    """Node for a command. ``asking``: of a slot that this node is only taking over."""

    address: Address
    asking: bool = False


class ClusterRedis(ArqRedis):
    """Client of a cluster. ``start``: some of its nodes. There are no transactions, so arq's own jobs cannot be enqueued."""

    def __init__(
        self, start: Sequence[Address], options: Mapping[str, Any], tls: TlsFiles | None = None
    ) -> None:
        host, port = start[0]
        super().__init__(host=host, port=port)  # no connection is made in this pool
        self.topology = Topology(start, options, tls)

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send one command to the node of its key, or to any node where it has none."""
        key = key_of(args)
        if key is None:
            return await self.topology.any_node().execute_command(*args, **options)  # type: ignore[no-untyped-call]

        async def send(node: Redis, _: Sequence[int], asking: bool) -> list[Any]:  # noqa: FBT001 - see each_on_its_node
            return await _run_part(node, [(args, options)], asking=asking)

        (answer,) = await self.each_on_its_node([key], send)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:  # noqa: FBT001, FBT002 - redis-py's signature
        """A pipeline over all nodes; raises ``RedisClusterException`` for a transaction."""
        if transaction:
            raise RedisClusterException("a Redis Cluster has no transactions over its slots")
        return _ClusterPipeline(self, shard_hint)

    def pubsub(self, **options: Any) -> PubSub:
        """A subscription by a node at random: each node passes on what is published on any of them."""
        subscription: PubSub = self.topology.any_node().pubsub(**options)
        return subscription

    async def primaries(self) -> list[Redis]:
        """Pools of all primaries."""
        return [self.topology.node(address) for address in await self.topology.primaries()]

    async def members(self) -> list[Redis]:
        """Pools of all nodes, replicas too."""
        return [self.topology.node(address) for address in await self.topology.members()]

    async def ping(self, **options: Any) -> bool:
        """Whether every primary answers; raises the error of one that does not."""
        await asyncio.gather(*(node.ping(**options) for node in await self.primaries()))
        return True

    async def aclose(self, close_connection_pool: bool | None = None) -> None:  # noqa: FBT001 - redis-py's signature
        """Close the connections to all nodes."""
        try:
            await self.topology.close()
        finally:
            await super().aclose(close_connection_pool)

    async def each_on_its_node(
        self,
        keys: Sequence[str | bytes],
        send: Send,
    ) -> list[Any]:
        """One answer for each key, in order; all nodes at the same time.

        ``send`` gets a node's pool, the positions of the keys that it has, and whether ``ASKING`` goes before each command;
        it returns their answers. A failed one has a ``RedisError`` in its place; where no node could be reached the error
        is raised. A redirected command is sent again, and one that met a dead node, once another node has its slot;
        not so after ``AnswerLost``.
        """
        answers: list[Any] = [RedisConnectionError("not sent")] * len(keys)
        redirected: dict[int, Place] = {}
        left: Sequence[int] = range(len(keys))
        for _ in range(MOST_REDIRECTIONS):
            places = await self._places(keys, left, redirected, answers)
            await self._send_to(places, send, answers)
            await self._update_topology({i: answers[i] for i in left}, places)
            redirected = _asked_for(answers, places)
            left = [i for i, place in places.items() if await self._again(keys[i], answers[i], place)]
            if not left:
                break
        return _judged([_plain(answer) for answer in answers])

    async def _places(
        self,
        keys: Sequence[str | bytes],
        left: Sequence[int],
        redirected: Mapping[int, Place],
        answers: list[Any],
    ) -> dict[int, Place]:
        """Node of each of these commands; the error in ``answers`` of one that no node serves."""
        places: dict[int, Place] = {}
        for i in left:
            try:
                places[i] = redirected.get(i) or Place(await self.topology.owner(keys[i]))
            except REDIS_ERRORS as error:
                answers[i] = error
        return places

    async def _send_to(
        self,
        places: Mapping[int, Place],
        send: Send,
        answers: list[Any],
    ) -> None:
        groups: defaultdict[Place, list[int]] = defaultdict(list)
        for i, place in places.items():
            groups[place].append(i)
        parts = await asyncio.gather(
            *(
                _sent(self.topology.node(place.address), place, positions, send)
                for place, positions in groups.items()
            )
        )
        for positions, part in zip(groups.values(), parts, strict=True):
            for i, answer in zip(positions, part, strict=True):
                answers[i] = answer

    async def _update_topology(self, answers: Mapping[int, Any], places: Mapping[int, Place]) -> None:
        """Read it again after a MOVED redirection or a failed node; the redirections themselves are newer still."""
        if any(isinstance(answer, MovedError) or _node_failed(answer) for answer in answers.values()):
            with contextlib.suppress(*REDIS_ERRORS):  # the answers say what is wrong
                await self.topology.refresh()
        for i, place in places.items():
            if isinstance(answers[i], MovedError):
                self.topology.learn(answers[i], place.address)

    async def _again(self, key: str | bytes, answer: Any, place: Place) -> bool:
        """Whether to send it again: nothing was done, or a repeat does no harm and another node has the slot now."""
        if isinstance(answer, AskError):  # MOVED is one, too
            return True
        if isinstance(answer, AnswerLost) or not _node_failed(answer):
            return False
        try:
            return await self.topology.owner(key) != place.address
        except REDIS_ERRORS:
            return False


async def primaries_of(redis: Redis) -> list[Redis]:
    """Pools of all primaries: of the cluster, or the one Redis."""
    return await redis.primaries() if isinstance(redis, ClusterRedis) else [redis]


async def members_of(redis: Redis) -> list[Redis]:
    """Pools of all nodes of the cluster, replicas too; otherwise the one Redis."""
    return await redis.members() if isinstance(redis, ClusterRedis) else [redis]


def _node_failed(answer: Any) -> bool:
    return isinstance(answer, REDIS_ERRORS) and not isinstance(answer, ResponseError)


def _asked_for(answers: Sequence[Any], places: Mapping[int, Place]) -> dict[int, Place]:
    """The places that ASK names, each for one command."""
    asked = {}
    for i, place in places.items():
        answer = answers[i]
        if isinstance(answer, AskError) and not isinstance(answer, MovedError):
            host, port = answer.node_addr
            asked[i] = Place((host or place.address[0], port), asking=True)
    return asked


class _ClusterPipeline(Pipeline):
    """Pipeline whose commands are split by node when it is executed."""

    def __init__(self, cluster: ClusterRedis, shard_hint: str | None) -> None:
        super().__init__(cluster.connection_pool, cluster.response_callbacks, False, shard_hint)
        self._cluster = cluster

    async def execute(self, raise_on_error: bool = True) -> list[Any]:  # noqa: FBT001, FBT002 - redis-py's signature
        """The answers in order; an error is in the place of its answer, or is raised."""
        commands, self.command_stack = self.command_stack, []
        if not commands:
            return []
        named = [key_of(args) for args, _ in commands]
        beside = next((key for key in named if key is not None), None)
        if beside is None:
            return await _run_part(self._cluster.topology.any_node(), commands, asking=False)
        keys = [beside if key is None else key for key in named]

        async def send(node: Redis, positions: Sequence[int], asking: bool) -> list[Any]:  # noqa: FBT001 - see each_on_its_node
            return await _run_part(node, [commands[i] for i in positions], asking=asking)

        answers = await self._cluster.each_on_its_node(keys, send)
        if raise_on_error:
            for answer in answers:
                if isinstance(answer, Exception):
                    raise answer
        return answers


async def _run_part(node: Redis, commands: Sequence[Any], *, asking: bool) -> list[Any]:
    """The answers of one node to its part of the commands."""
    async with node.pipeline(transaction=False) as pipe:
        for args, options in commands:
            if asking:
                pipe.execute_command(*ASKING)
            pipe.execute_command(*args, **options)
        answers: list[Any] = await pipe.execute(raise_on_error=False)
    return answers[1::2] if asking else answers


async def _sent(
    node: Redis,
    place: Place,
    positions: Sequence[int],
    send: Send,
) -> list[Any]:
    try:
        return await send(node, positions, place.asking)
    except REDIS_ERRORS as error:
        return [error] * len(positions)


def _plain(answer: Any) -> Any:
    """The answer; as a ``RedisError`` where it is an error of another root, or a redirection without end.

    TRYAGAIN is not waited out here, which would hold up the other shards: its caller tries again.
    """
    if isinstance(answer, AskError | TryAgainError):
        return ResponseError("its slot is being moved between nodes of the cluster")
    if isinstance(answer, Exception) and not isinstance(answer, RedisError):
        error = RedisConnectionError(reason_of(answer))
        error.__cause__ = answer
        return error
    return answer


def _judged(answers: list[Any]) -> list[Any]:
    """The answers. Raises the error where no node has answered anything; a lost answer before others."""
    failed = [
        answer
        for answer in answers
        if isinstance(answer, RedisError) and not isinstance(answer, ResponseError)
    ]
    if answers and len(failed) == len(answers):
        raise next((error for error in failed if isinstance(error, AnswerLost)), failed[0])
    return answers
