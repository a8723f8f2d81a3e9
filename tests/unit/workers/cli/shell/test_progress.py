"""Progress line of sign: on a terminal only."""

from __future__ import annotations

import errno
import io

import pytest

from workers.cli.shell.progress import Progress


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        """Whether this is a terminal: always."""
        return True


def test_the_progress_line() -> None:
    """Count, rate, ETA and failures, on a terminal."""
    now_s = 100.0
    screen = Terminal()
    progress = Progress(5000, stream=screen, clock=lambda: now_s)
    for _ in range(1202):
        progress.count(ok=True)
    progress.count(ok=False)
    now_s = 101.5
    progress.count(ok=False)
    assert progress.text() == "1202/5000 signed  803/s  ETA 5 s  2 failed"
    assert screen.getvalue().endswith(progress.text())
    progress.clear()
    assert screen.getvalue().endswith("\r")


def test_no_progress_line_without_a_terminal() -> None:
    """The log of a build gets no progress line."""
    log = io.StringIO()
    progress = Progress(2, stream=log, clock=lambda: 0.0)
    progress.count(ok=True)
    progress.clear()
    assert log.getvalue() == ""


def test_an_unknown_total_has_no_eta() -> None:
    """Items from stdin cannot be counted beforehand: count and rate only."""
    now_s = 0.0
    progress = Progress(None, stream=io.StringIO(), clock=lambda: now_s)
    progress.count(ok=True)
    now_s = 1.0
    assert progress.text() == "1 signed  1/s"


def test_a_note_is_shown_until_the_next_item(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line is cut to the terminal's width; idle time is counted from the last item."""
    monkeypatch.setenv("COLUMNS", "60")
    now_s = [0.0]
    stream = Terminal()
    progress = Progress(2, stream=stream, clock=lambda: now_s[0])
    now_s[0] = 4.0
    assert progress.idle_s == 4.0
    progress.show("waiting: 3 jobs ahead" + "." * 99)
    assert "waiting: 3 jobs ahead" in stream.getvalue()
    assert max(len(line) for line in stream.getvalue().split("\r")) < 60
    progress.count(ok=True)
    assert (progress.idle_s, "waiting" in progress.text()) == (0.0, False)


def test_items_are_counted_many_at_once_under_their_own_word() -> None:
    now_s = 0.0
    progress = Progress(70_000, done="entries", stream=io.StringIO(), clock=lambda: now_s)
    progress.count(35_000, ok=True)
    now_s = 10.0
    assert progress.text() == "35000/70000 entries  3500/s  ETA 10 s"


class GoneTerminal(Terminal):
    """Terminal whose window was closed."""

    def write(self, text: str) -> int:
        raise OSError(errno.EIO, "Input/output error")


def test_a_terminal_that_has_gone_ends_the_line_and_not_the_work() -> None:
    """A person closed the window of a command that goes on (nohup, disown): counting continues, and nothing more is drawn."""
    progress = Progress(2, stream=GoneTerminal(), clock=lambda: 100.0)
    progress.count(ok=True)
    progress.count(ok=True)
    progress.show("waiting")
    progress.clear()
    assert (progress.signed, progress.visible) == (2, False)
