"""Word about a wait: on a terminal, and only about a long one."""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Callable

import pytest

from workers import patience
from workers.patience import telling


class Screen(io.StringIO):
    """A stderr, and whether it is a terminal."""

    def __init__(self, *, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


class FakeTimer:
    """Timer that fires when the test says so."""

    made: list[FakeTimer] = []  # noqa: RUF012 - emptied by the fixture

    def __init__(self, after_s: float, tell: Callable[..., None], words: tuple[str]) -> None:
        self.after_s, self._tell, self._words = after_s, tell, words
        self.daemon = self.started = self.cancelled = False
        self.made.append(self)

    def start(self) -> None:
        self.started = True

    def cancel(self) -> None:
        self.cancelled = True

    def fire(self) -> None:
        """Let its time pass."""
        assert self.started
        assert not self.cancelled
        self._tell(*self._words)


@pytest.fixture
def timers(monkeypatch: pytest.MonkeyPatch) -> list[FakeTimer]:
    """Timers that were made, in place of those of ``threading``."""
    monkeypatch.setattr(FakeTimer, "made", [])
    monkeypatch.setattr(threading, "Timer", FakeTimer)
    return FakeTimer.made


@pytest.mark.parametrize("fails", [False, True])
def test_a_long_wait_is_told_on_a_terminal_and_a_short_one_is_not(
    timers: list[FakeTimer], monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    """After three seconds, once; the end of the wait cancels the timer, also by an error."""
    screen = Screen(terminal=True)
    monkeypatch.setattr(sys, "stderr", screen)

    def wait() -> None:
        with telling("the module of token `acme`"):
            if fails:
                raise LookupError

    if fails:
        with pytest.raises(LookupError):
            wait()
    else:
        wait()
    (timer,) = timers
    assert (timer.after_s, timer.daemon, timer.cancelled) == (patience.PATIENCE_S, True, True)
    assert not screen.getvalue()
    with telling("the module of token `acme`"):
        timers[1].fire()
    assert screen.getvalue() == "waiting for the module of token `acme`\n"


def test_a_file_or_pipe_gets_no_word(timers: list[FakeTimer], monkeypatch: pytest.MonkeyPatch) -> None:
    """Other programs read stderr there."""
    monkeypatch.setattr(sys, "stderr", Screen(terminal=False))
    with telling("worker 7"):
        pass
    assert not timers


def test_a_terminal_that_has_gone_does_not_end_a_wait(
    timers: list[FakeTimer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread of the timer would print a traceback."""
    screen = Screen(terminal=True)
    monkeypatch.setattr(sys, "stderr", screen)
    with telling("worker 7"):
        screen.close()
        timers[0].fire()
    assert timers[0].cancelled
