"""Promotion of a replica, by the answers of the Sentinels."""

from __future__ import annotations

import pytest

from bench.testbed.failover import named_port, not_promoted

KILLED, OTHER, THIRD = 7001, 7002, 7003


def address(port: int) -> bytes:
    """Answer of a Sentinel, in the protocol of Redis."""
    return b"*2\r\n$9\r\n127.0.0.1\r\n$%d\r\n%d\r\n" % (len(str(port)), port)


def test_the_port_of_the_primary_is_read() -> None:
    assert named_port(address(OTHER)) == OTHER


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"*-1\r\n",
        b"-ERR unknown command\r\n",
        address(OTHER)[:-1],
        address(OTHER)[:-3],
        address(OTHER) * 2,
    ],
    ids=["nothing", "no primary", "error", "half", "part", "two"],
)
def test_another_answer_names_no_primary(answer: bytes) -> None:
    assert named_port(answer) is None


@pytest.mark.parametrize(
    "ports",
    [
        (KILLED, KILLED, KILLED),
        (OTHER, OTHER, KILLED),
        (OTHER, OTHER, None),
        (OTHER, OTHER, THIRD),
        (None, None, None),
    ],
)
def test_a_replica_is_not_promoted_before_every_sentinel_names_it(ports: tuple[int | None, ...]) -> None:
    said = dict(zip((8001, 8002, 8003), ports, strict=True))
    assert not_promoted(said, KILLED).startswith("all Sentinels name another primary than 7001: 8001 ")


def test_what_each_sentinel_says_is_told() -> None:
    assert not_promoted({8001: OTHER, 8002: KILLED, 8003: None}, KILLED) == (
        "all Sentinels name another primary than 7001: 8001 names 7002, 8002 names 7001, 8003 does not answer"
    )


def test_a_replica_is_promoted_once_all_sentinels_name_it() -> None:
    assert not not_promoted(dict.fromkeys((8001, 8002, 8003), OTHER), KILLED)
