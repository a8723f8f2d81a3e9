"""Topology of a cluster: slots read once, learned from redirections, and read from whichever node answers."""

from __future__ import annotations

import asyncio
import gc
from typing import cast

import pytest
from arq.connections import ArqRedis
from redis.crc import key_slot
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MovedError, RedisError, ResponseError

from queueing.redis.cluster_topology import Address, Topology

ONE, TWO, THREE = ("one", 1), ("two", 2), ("three", 3)
LAST_SLOT = 16383
HALF = 8191

Slots = list[list[object]]


def node_of(address: Address) -> list[object]:
    return [address[0].encode(), address[1], b"id"]


def halves(first: Address, second: Address, *replicas: Address) -> Slots:
    """Two primaries with half of the slots each; the first has the replicas."""
    return [
        [0, HALF, node_of(first), *map(node_of, replicas)],
        [HALF + 1, LAST_SLOT, node_of(second)],
    ]


class FakeNode:
    """A node that answers CLUSTER SLOTS, or raises, or never answers (None)."""

    def __init__(self, answer: Slots | Exception | None) -> None:
        self.answer = answer
        self.asked = 0
        self.closed = False
        self._in_use_connections: set[str] = set()

    @property
    def connection_pool(self) -> FakeNode:
        return self

    async def execute_command(self, *words: str) -> Slots:
        assert words == ("CLUSTER", "SLOTS")
        self.asked += 1
        if self.answer is None:
            await asyncio.Event().wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        assert self.answer is not None
        return self.answer

    async def aclose(self) -> None:
        self.closed = True


def topology_of(nodes: dict[Address, FakeNode], *start: Address) -> Topology:
    made = Topology(start or [ONE], {})
    made._nodes.update({address: cast("ArqRedis", node) for address, node in nodes.items()})
    return made


def key_in(first: int, last: int) -> str:
    return next(key for key in map(str, range(100)) if first <= key_slot(key.encode()) <= last)


LOW, HIGH = key_in(0, HALF), key_in(HALF + 1, LAST_SLOT)


async def test_the_slots_are_read_once_for_all_calls_at_the_same_time() -> None:
    """Each key has the primary of its slot; before the first answer none is known."""
    node = FakeNode(halves(ONE, TWO))
    topology = topology_of({ONE: node})
    assert topology.known_owner(LOW) is None
    found = await asyncio.gather(topology.owner(LOW), topology.owner(HIGH), topology.owner(LOW.encode()))
    assert list(found) == [ONE, TWO, ONE]
    assert topology.known_owner(HIGH) == TWO
    assert node.asked == 1


async def test_a_dead_and_a_silent_node_delay_nothing() -> None:
    """The first answer counts."""
    dead, silent = FakeNode(RedisConnectionError("refused")), FakeNode(None)
    topology = topology_of({ONE: dead, TWO: silent, THREE: FakeNode(halves(TWO, THREE))}, ONE, TWO, THREE)
    assert await topology.primaries() == [THREE, TWO]


async def test_an_error_that_comes_after_the_first_answer_is_no_mistake_of_the_program() -> None:
    """asyncio would log it, with a traceback, as an exception that was never retrieved."""
    told: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    for _ in range(20):  # the nodes are asked in any order
        late = FakeNode(RedisConnectionError("refused"))
        await topology_of({ONE: FakeNode(halves(ONE, TWO)), TWO: late}, ONE, TWO).refresh()
    gc.collect()
    assert told == []


async def test_a_node_that_was_just_reset_knows_no_slots_and_is_not_believed() -> None:
    """Another one that knows them is asked at the same time."""
    topology = topology_of({ONE: FakeNode([]), TWO: FakeNode(halves(ONE, TWO))}, ONE, TWO)
    assert await topology.owner(LOW) == ONE
    with pytest.raises(RedisConnectionError, match="no node of the cluster knows its slots"):
        await topology_of({ONE: FakeNode([])}).refresh()


async def test_a_slot_that_no_node_has_is_an_error_that_names_it() -> None:
    """It is read again at the next try: the cluster may be in the middle of a failover."""
    node = FakeNode([[0, HALF, node_of(ONE)]])
    topology = topology_of({ONE: node})
    with pytest.raises(RedisConnectionError, match=f"serves slot {key_slot(HIGH.encode())}"):
        await topology.owner(HIGH)
    node.answer = halves(ONE, TWO)
    topology._nodes[TWO] = cast("ArqRedis", FakeNode(halves(ONE, TWO)))
    assert await topology.owner(HIGH) == TWO


async def test_a_server_that_is_no_cluster_is_told_with_what_to_configure() -> None:
    """Its refusal counts more than the silence of another node."""
    refusal = ResponseError("This instance has cluster support disabled")
    nodes = {ONE: FakeNode(RedisConnectionError("refused")), TWO: FakeNode(refusal)}
    with pytest.raises(RedisError, match="name it by `host` instead of `cluster`"):
        await topology_of(nodes, ONE, TWO).refresh()


@pytest.mark.parametrize("host", [b"", b"?", None])
async def test_a_node_that_does_not_know_its_address_has_the_one_by_which_it_was_asked(
    host: bytes | None,
) -> None:
    """CLUSTER SLOTS has no host, or '?', for a node that does not know its own."""
    topology = topology_of({ONE: FakeNode([[0, LAST_SLOT, [host, 7, b"id"]]])})
    assert await topology.owner(LOW) == ("one", 7)


@pytest.mark.parametrize("words, owner", [("two:2", TWO), (":9", ("one", 9))])
async def test_a_redirection_moves_one_slot(words: str, owner: Address) -> None:
    """Without a host it is another port of the node that was asked."""
    topology = topology_of({ONE: FakeNode([[0, LAST_SLOT, node_of(ONE)]])})
    await topology.refresh()
    moved: MovedError = MovedError(f"{key_slot(LOW.encode())} {words}")  # type: ignore[no-untyped-call]
    topology.learn(moved, ONE)
    assert (topology.known_owner(LOW), topology.known_owner(HIGH)) == (owner, ONE)


async def test_commands_without_a_key_go_to_no_replica() -> None:
    """Before the first answer to a node that the configuration names."""
    nodes = {ONE: FakeNode(halves(ONE, TWO, THREE)), TWO: FakeNode(None), THREE: FakeNode(None)}
    topology = topology_of(nodes)
    assert topology.any_node() is topology.node(ONE)
    assert await topology.members() == [ONE, THREE, TWO]
    primaries = [topology.node(ONE), topology.node(TWO)]
    assert all(topology.any_node() in primaries for _ in range(50))


async def test_the_pool_of_a_node_that_left_is_closed_once_it_is_idle() -> None:
    """A command that is under way there ends first; a configured node is kept."""
    first = FakeNode(halves(ONE, TWO))
    gone, busy = FakeNode(None), FakeNode(None)
    busy._in_use_connections.add("a command")
    topology = topology_of({ONE: first, TWO: FakeNode(None), THREE: gone, ("four", 4): busy})
    await topology.refresh()
    assert (gone.closed, busy.closed, first.closed) == (True, False, False)
    busy._in_use_connections.clear()
    await topology.refresh()
    assert busy.closed
    assert set(topology._nodes) == {ONE, TWO}


async def test_closing_closes_every_pool() -> None:
    """Also where one of them fails to close: its error is raised after the others are closed."""

    class Fails(FakeNode):
        async def aclose(self) -> None:
            raise RedisConnectionError("reset")

    one, two = FakeNode(None), FakeNode(None)
    topology = topology_of({ONE: one, TWO: Fails(None), THREE: two})
    with pytest.raises(RedisConnectionError, match="reset"):
        await topology.close()
    assert one.closed
    assert two.closed
