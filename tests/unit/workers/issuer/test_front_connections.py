"""Connections of the front: a bounded number, each for a bounded time, whatever it sends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workers.issuer import front

if TYPE_CHECKING:
    import pytest


class Transport:
    """A connection that can be ended."""

    def __init__(self) -> None:
        self.aborted = False

    def abort(self) -> None:
        self.aborted = True


class Loop:
    """An event loop whose time a test moves."""

    def __init__(self) -> None:
        self.calls: list[tuple[float, Any]] = []

    def call_later(self, delay_s: float, call: Any) -> None:
        self.calls.append((delay_s, call))


class NoFront:
    """A front that nobody asks."""

    async def answer(self, request: object) -> None:
        raise AssertionError


async def test_a_connection_too_many_is_ended_and_each_other_has_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The third of two is aborted at once, the first two after thirty seconds."""
    server = front._BoundedServer(NoFront(), 2)  # type: ignore[arg-type]
    loop = Loop()
    monkeypatch.setattr("workers.issuer.front.asyncio.get_running_loop", lambda: loop)
    transports = [Transport() for _ in range(3)]
    for transport in transports:
        server.connection_made(object(), transport)  # type: ignore[arg-type]
    assert [transport.aborted for transport in transports] == [False, False, True]
    assert [delay_s for delay_s, _ in loop.calls] == [front.CONNECTION_S] * 2
    for _, call in loop.calls:
        call()
    assert all(transport.aborted for transport in transports)
