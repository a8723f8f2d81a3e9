"""Coalescing of items, with a clock that stands still until it is moved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from queueing.aio.coalescer import Coalescer


@dataclass(slots=True)
class Timer:
    at_s: float
    call: Callable[[], Any]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


@dataclass(slots=True)
class FakeLoop:
    """``call_soon`` runs at the next turn, ``call_later`` when its time has come."""

    now_s: float = 0.0
    timers: list[Timer] = field(default_factory=list)

    def call_soon(self, callback: Callable[..., Any], *args: Any) -> Timer:
        return self.call_later(0.0, callback, *args)

    def call_later(self, delay: float, callback: Callable[..., Any], *args: Any) -> Timer:
        timer = Timer(self.now_s + delay, lambda: callback(*args))
        self.timers.append(timer)
        return timer

    def turn(self, seconds: float = 0.0) -> None:
        self.now_s += seconds
        due = [t for t in self.timers if t.at_s <= self.now_s]
        self.timers = [t for t in self.timers if t.at_s > self.now_s]
        for timer in due:
            if not timer.cancelled:
                timer.call()


@dataclass(slots=True)
class Sink:
    loop: FakeLoop = field(default_factory=FakeLoop)
    sent: list[tuple[str, list[int]]] = field(default_factory=list)
    busy: bool = False

    def coalescer(self, most: int = 1024) -> Coalescer[str, int]:
        return Coalescer(self, scheduler=self.loop, linger_s=0.002, most=most)

    def send(self, key: str, items: list[int]) -> None:
        self.sent.append((key, items))


@pytest.fixture
def sink() -> Sink:
    return Sink()


def test_an_idle_client_flushes_at_the_end_of_the_turn(sink: Sink) -> None:
    """No latency for a lone call, and what starts in one turn travels together."""
    coalescer = sink.coalescer()
    for i in range(3):
        coalescer.add("k", i)
    assert sink.sent == []
    sink.loop.turn()
    assert sink.sent == [("k", [0, 1, 2])]


def test_a_busy_client_lingers(sink: Sink) -> None:
    """While envelopes are under way, calls of 2 ms are collected."""
    sink.busy = True
    coalescer = sink.coalescer()
    coalescer.add("k", 0)
    sink.loop.turn(0.001)
    coalescer.add("k", 1)
    assert sink.sent == []
    sink.loop.turn(0.001)
    assert sink.sent == [("k", [0, 1])]


def test_a_full_group_leaves_at_once(sink: Sink) -> None:
    """1,024 (here 3) are an envelope; the rest begins the next, and no timer flushes twice."""
    sink.busy = True
    coalescer = sink.coalescer(most=3)
    for i in range(4):
        coalescer.add("k", i)
    assert sink.sent == [("k", [0, 1, 2])]
    sink.loop.turn(0.002)
    assert sink.sent == [("k", [0, 1, 2]), ("k", [3])]
    sink.loop.turn(1)
    assert len(sink.sent) == 2


def test_keys_are_not_mixed(sink: Sink) -> None:
    """One envelope has one key, version and algorithm."""
    coalescer = sink.coalescer()
    coalescer.add("a", 1)
    coalescer.add("b", 2)
    sink.loop.turn()
    assert sorted(sink.sent) == [("a", [1]), ("b", [2])]


def test_a_call_that_is_taken_back_is_not_sent(sink: Sink) -> None:
    """Closing takes back what was not sent."""
    coalescer = sink.coalescer()
    coalescer.add("a", 1)
    coalescer.add("b", 2)
    assert sorted(coalescer.clear()) == [1, 2]
    sink.loop.turn(1)
    assert sink.sent == []
