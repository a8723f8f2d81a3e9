"""A signal ends a command with its sentence and exit code, whenever it comes."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import warnings
from collections.abc import Iterator

import pytest
import uvloop

from workers.cli.shell.interrupts import Stopped, ends_task, run_stoppable, with_clean_up


class Subject:
    def stopped_text(self) -> str:
        return "stopped; nothing was signed"


async def work() -> str:
    return "done"


async def interrupted_work() -> str:
    signal.raise_signal(signal.SIGTERM)
    await asyncio.Event().wait()
    return "done"


def test_work_without_a_signal_is_done_and_the_handlers_are_as_before() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert run_stoppable(work(), Subject()) == "done"
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_signal_in_the_middle_of_the_work_stops_it(
    capsys: pytest.CaptureFixture[str], own_handlers: None
) -> None:
    with pytest.raises(Stopped) as stopped:
        run_stoppable(interrupted_work(), Subject())
    assert stopped.value.exit_code == 128 + signal.SIGTERM
    assert "stopped; nothing was signed" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_the_first_step_of_the_work_stops_it_too(
    number: signal.Signals,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    own_handlers: None,
) -> None:
    make = uvloop.new_event_loop

    def interrupted_while_the_loop_is_made() -> asyncio.AbstractEventLoop:
        signal.raise_signal(number)
        return make()

    monkeypatch.setattr(uvloop, "new_event_loop", interrupted_while_the_loop_is_made)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(Stopped) as stopped:
            run_stoppable(work(), Subject())
    assert stopped.value.exit_code == 128 + number
    assert "stopped; nothing was signed" in capsys.readouterr().err


@pytest.fixture
def own_handlers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The handlers of pytest again afterwards, and no watchdog that ends this process."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup, under which the tests may run, has it ignored

    class Watchdog:
        daemon = False

        def __init__(self, _: float, function: object, arguments: object) -> None: ...

        def start(self) -> None: ...

    monkeypatch.setattr("workers.cli.shell.interrupts.threading.Timer", Watchdog)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def raise_handled(number: signal.Signals) -> None:
    """Raise a signal that has a handler: by default it would end the tests."""
    assert signal.getsignal(number) is not signal.SIG_DFL
    signal.raise_signal(number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_ends_a_process_at_once_leaves_time_to_clean_up(
    number: signal.Signals, own_handlers: None
) -> None:
    """The end of a terminal, too; afterwards the signal does what it did before."""
    signal.signal(number, signal.SIG_DFL)
    clean_up = contextlib.ExitStack()
    cleaned_up: list[str] = []
    clean_up.callback(cleaned_up.append, "what was begun")

    with pytest.raises(Stopped) as stopped, with_clean_up(), clean_up:
        raise_handled(number)

    assert cleaned_up == ["what was begun"]
    assert stopped.value.exit_code == 128 + number
    assert signal.getsignal(number) is signal.SIG_DFL


def test_a_signal_that_is_ignored_stays_so(own_handlers: None) -> None:
    """As under nohup."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    with with_clean_up():
        signal.raise_signal(signal.SIGHUP)

    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_ends_a_task_lets_it_end_in_order(
    number: signal.Signals, capsys: pytest.CaptureFixture[str], own_handlers: None
) -> None:
    """What it has opened is closed, and it says its sentence; a cancellation from elsewhere stays one."""
    closed: list[str] = []

    async def waiting(*, is_signalled: bool) -> None:
        with ends_task([number], "It was not begun."), contextlib.ExitStack() as opened:
            opened.callback(closed.append, "what was opened")
            if is_signalled:
                raise_handled(number)
            else:
                asyncio.get_running_loop().call_soon(next(iter(asyncio.all_tasks())).cancel)
            await asyncio.Event().wait()

    with pytest.raises(Stopped) as stopped:
        asyncio.run(waiting(is_signalled=True))
    assert stopped.value.exit_code == 128 + number
    assert "It was not begun." in capsys.readouterr().err
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(waiting(is_signalled=False))
    assert closed == ["what was opened"] * 2
