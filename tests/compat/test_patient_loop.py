"""The clock of the loops in arq's suite: a late turn and a late reply of Redis take none of it, a sleep all of it."""

from __future__ import annotations

import asyncio
import selectors
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.compat.patient_loop import TURN_S, PatientLoop, PatientSelector

LATE_S = 3600.0
SLEEP_S = 0.002


class HostClock:
    """Clock of the host on a machine so busy that an hour goes by from one look to the next."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        self.now_s += LATE_S
        return self.now_s


@pytest.fixture
def selector() -> Iterator[PatientSelector]:
    """One that was asked for nothing so far."""
    with PatientSelector(HostClock()) as made:
        made.now_s = 0.0
        yield made


@pytest.fixture
def redis(selector: PatientSelector) -> Iterator[socket.socket]:
    """The server's end of a connection to which the selector listens."""
    here, there = socket.socketpair()
    with here, there:
        selector.register(here, selectors.EVENT_READ)
        yield there


def test_a_turn_that_was_late_is_a_short_one(selector: PatientSelector) -> None:
    assert selector.select(0) == []
    assert selector.now_s == TURN_S


def test_a_reply_that_was_late_is_waited_for_before_any_timer(
    selector: PatientSelector, redis: socket.socket
) -> None:
    """The next timer is due in a moment, the reply is sent later, and comes first."""
    selector.replies = 1
    answering = threading.Timer(20 * SLEEP_S, redis.send, (b"+OK\r\n",))
    answering.start()
    assert selector.select(SLEEP_S)
    answering.join()
    assert selector.now_s == 2 * TURN_S


def test_a_sleep_has_its_time_and_no_more(selector: PatientSelector) -> None:
    assert selector.select(SLEEP_S) == []
    assert selector.now_s == TURN_S + SLEEP_S


def test_timers_run_in_their_order() -> None:
    """Three sleeps end in the order of their lengths."""
    woken: list[float] = []

    async def sleep(seconds: float) -> None:
        await asyncio.sleep(seconds)
        woken.append(seconds)

    async def all_of_them() -> None:
        await asyncio.gather(sleep(2 * SLEEP_S), sleep(SLEEP_S), sleep(3 * SLEEP_S))

    with asyncio.Runner(loop_factory=PatientLoop) as runner:
        runner.run(all_of_them())
    assert woken == [SLEEP_S, 2 * SLEEP_S, 3 * SLEEP_S]
