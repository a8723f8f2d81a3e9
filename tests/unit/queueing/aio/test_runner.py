"""Event loops of commands."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
from collections.abc import AsyncIterator

import pytest
import uvloop

from queueing.aio import runner
from queueing.aio.runner import is_end_held_up, run
from tests.support.waiting import turn


def test_the_result_is_returned_and_the_loop_is_closed() -> None:
    async def work() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    loop = run(work())
    assert isinstance(loop, uvloop.Loop)
    assert loop.is_closed()
    assert not is_end_held_up()


def test_an_error_is_raised_and_the_loop_is_closed() -> None:
    loops: list[asyncio.AbstractEventLoop] = []

    async def work() -> None:
        loops.append(asyncio.get_running_loop())
        raise ValueError("work")

    with pytest.raises(ValueError, match="work"):
        run(work())
    assert loops[0].is_closed()


def test_handlers_of_signals_are_removed_before_the_loop_is_closed(caplog: pytest.LogCaptureFixture) -> None:
    """uvloop does that in the main thread only, and says so otherwise."""

    async def work() -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, print)

    run(work())
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL
    assert not caplog.records


def test_tasks_and_generators_that_the_work_leaves_behind_are_ended() -> None:
    ended: list[str] = []

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("task")

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            await turn()
            ended.append("generator")

    left: list[object] = []

    async def work() -> None:
        left.append(asyncio.ensure_future(forever()))
        source = numbers()
        left.append(source)
        await anext(source)

    run(work())
    assert sorted(ended) == ["generator", "task"]


def test_the_error_of_a_task_that_is_ended_with_the_loop_is_reported(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fail() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise RuntimeError("at its end")

    left: list[object] = []

    async def work() -> None:
        left.append(asyncio.ensure_future(fail()))
        await turn()

    run(work())
    assert "at its end" in caplog.text


def test_a_failed_look_up_that_no_caller_awaits_is_not_reported(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The call that wanted the name has told that its time is over. Other errors are reported."""

    async def work() -> None:
        loop = asyncio.get_running_loop()
        for error in (socket.gaierror(-3, "no resolver"), RuntimeError("an error of ours")):
            loop.call_exception_handler(
                {"message": "Future exception was never retrieved", "exception": error}
            )

    run(work())
    assert "no resolver" not in caplog.text
    assert "an error of ours" in caplog.text


def test_a_loop_that_cannot_be_closed_does_not_hold_up_its_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """A resolver that does not answer holds up the loop's close in this way."""
    monkeypatch.setattr(runner, "_CLOSE_S", 0.0)
    gate = threading.Event()

    class Stuck(uvloop.Loop):
        def close(self) -> None:
            gate.wait()
            super().close()

    monkeypatch.setattr(uvloop, "new_event_loop", Stuck)

    async def work() -> str:
        return "result"

    assert run(work()) == "result"
    assert is_end_held_up()
    gate.set()
    for thread in runner._closing:
        thread.join()
    assert not is_end_held_up()
