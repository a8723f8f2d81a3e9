"""Routing of commands to the nodes of a cluster, as far as it can be judged without a Redis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import (
    AskError,
    MovedError,
    RedisClusterException,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError

from queueing.config.redis import TlsConfig
from queueing.redis.cluster import ClusterRedis
from queueing.redis.cluster_topology import Address, Topology
from queueing.redis.errors import AnswerLost, raise_outage
from queueing.redis.pool import ShrinkingPool
from queueing.redis.rotation import TlsFiles

OLD, NEW, OTHER = ("old", 1), ("new", 2), ("other", 3)
A, B = "{acme}:queue", "{t1}:queue"


class FixedTopology(Topology):
    """Slots as a test says; ``after``: as they are once they are read again."""

    def __init__(self, owners: dict[str, Address], after: dict[str, Address] | None = None) -> None:
        super().__init__([OLD], {})
        self.now = dict(owners)
        self.after = owners if after is None else after
        self.reads = 0

    async def owner(self, key: str | bytes) -> Address:
        return self.now[key if isinstance(key, str) else key.decode()]

    async def refresh(self) -> None:
        self.reads += 1
        self.now = dict(self.after)

    def learn(self, moved: MovedError, asked: Address) -> None:
        host, port = moved.node_addr
        self.now = {key: (host, port) if owner == asked else owner for key, owner in self.now.items()}


def error_of(kind: type[RedisError], text: str) -> RedisError:
    """redis-py types the constructors of these not at all."""
    return kind(text)


def cluster_of(topology: Topology) -> ClusterRedis:
    made = ClusterRedis([OLD], {})
    made.topology = topology
    return made


Sent = list[tuple[Address, list[int], bool]]


async def answers_of(
    topology: Topology, keys: Sequence[str], answer: Callable[[Address, int, bool], Any]
) -> tuple[list[Any], Sent]:
    """Answers of the cluster, and what was sent where; ``answer`` raises where the whole node fails."""
    sent: Sent = []

    async def send(node: Redis, positions: Sequence[int], asking: bool) -> list[Any]:
        options = node.connection_pool.connection_kwargs
        address = (options["host"], options["port"])
        sent.append((address, list(positions), asking))
        return [answer(address, i, asking) for i in positions]

    return await cluster_of(topology).each_on_its_node(keys, send), sent


async def test_commands_of_one_node_are_sent_together() -> None:
    """One round trip for each node, answers in the order of the commands."""
    topology = FixedTopology({A: OLD, B: OTHER})
    found, sent = await answers_of(topology, [A, B, A], lambda address, i, _: f"{address[0]}-{i}")
    assert found == ["old-0", "other-1", "old-2"]
    assert sorted(sent) == [(OLD, [0, 2], False), (OTHER, [1], False)]


async def test_a_moved_command_alone_is_sent_again_to_its_new_node() -> None:
    """The redirection counts, also where the node that was asked for the slots does not know of it yet."""
    topology = FixedTopology({A: OLD, B: OTHER})
    found, sent = await answers_of(
        topology, [A, B], lambda at, i, _: error_of(MovedError, "7 new:2") if at == OLD else f"{at[0]}-{i}"
    )
    assert found == ["new-0", "other-1"]
    assert sent[-1] == (NEW, [0], False)
    assert topology.reads == 1


async def test_a_command_is_sent_once_with_asking_when_a_node_wants_it() -> None:
    """The slot is still the old node's: nothing is learned from it."""
    topology = FixedTopology({A: OLD})
    found, sent = await answers_of(
        topology, [A], lambda at, _, asking: "done" if asking else error_of(AskError, "7 new:2")
    )
    assert found == ["done"]
    assert sent == [(OLD, [0], False), (NEW, [0], True)]
    assert topology.now == {A: OLD}


@pytest.mark.parametrize(
    "error",
    [error_of(MovedError, "7 old:1"), error_of(AskError, "7 old:1"), error_of(TryAgainError, "split")],
)
async def test_a_slot_that_is_on_its_way_is_an_error_of_its_commands_alone(error: RedisError) -> None:
    """It ends after a few redirections, and the others have their answers."""
    topology = FixedTopology({A: OLD, B: OTHER})
    found, sent = await answers_of(topology, [A, B], lambda at, i, _: error if at == OLD else i)
    assert isinstance(found[0], ResponseError)
    assert "is being moved" in str(found[0])
    assert found[1] == 1
    assert len(sent) <= 7


async def test_after_a_node_failed_its_commands_go_to_its_successor() -> None:
    """A command is sent again once, to the primary that the cluster names by then."""

    def answer(at: Address, i: int, _: bool) -> Any:
        if at == OLD:
            raise RedisConnectionError("refused")
        return i

    found, sent = await answers_of(FixedTopology({A: OLD}, {A: NEW}), [A], answer)
    assert found == [0]
    assert [address for address, _, _ in sent] == [OLD, NEW]


async def test_a_command_sent_once_is_not_sent_to_a_successor() -> None:
    """A lost answer is raised: the old node may have carried the command out."""

    def answer(at: Address, *_: object) -> Any:
        raise AnswerLost(at[0])

    with pytest.raises(AnswerLost, match="old"):
        await answers_of(FixedTopology({A: OLD}, {A: NEW}), [A], answer)


async def test_the_error_of_one_shard_is_in_its_places_and_that_of_all_is_raised() -> None:
    """As of a single Redis; errors of another root become those of redis-py."""

    def away(*gone: Address) -> Callable[[Address, int, bool], Any]:
        def answer(at: Address, i: int, _: bool) -> Any:
            if at in gone:
                raise TimeoutError
            return i

        return answer

    found, _ = await answers_of(FixedTopology({A: OLD, B: OTHER}), [A, B], away(OLD))
    assert isinstance(found[0], RedisError)
    assert found[1] == 1
    with pytest.raises(RedisError):
        raise_outage(found)
    with pytest.raises(RedisError):
        await answers_of(FixedTopology({A: OLD, B: OTHER}), [A, B], away(OLD, OTHER))


def test_a_transaction_is_refused() -> None:
    """Rather than carried out in parts."""
    with pytest.raises(RedisClusterException):
        ClusterRedis([OLD], {}).pipeline(transaction=True)


def test_each_node_reads_changed_tls_files(tmp_path: Path) -> None:
    """A rotated certificate counts for the new connections of every node, as it does with a single Redis."""
    tls = TlsFiles(TlsConfig(ca_file=str(tmp_path / "ca.pem")))
    pool = ClusterRedis([OLD], {}, tls).topology.node(NEW).connection_pool
    assert isinstance(pool, ShrinkingPool)
    assert pool.tls is tls


async def test_its_own_pool_is_closed_also_where_the_connections_to_a_node_fail_to_close(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The error of the node is raised after that."""

    class FailingTopology(FixedTopology):
        async def close(self) -> None:
            raise OSError("no network")

    closed: list[bool] = []

    async def close(_: Redis, close_connection_pool: bool | None = None) -> None:
        closed.append(close_connection_pool is None)

    monkeypatch.setattr(Redis, "aclose", close)
    with pytest.raises(OSError, match="no network"):
        await cluster_of(FailingTopology({})).aclose()
    assert closed == [True]
