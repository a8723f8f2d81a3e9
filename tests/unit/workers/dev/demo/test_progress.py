"""Progress of the demonstration: one redrawn line on a terminal, a line every five seconds elsewhere."""

from __future__ import annotations

import io

from workers.dev.demo.progress import Progress


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        """Whether this is a terminal: always."""
        return True


class Clock:
    """Fake clock."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        """The current time."""
        return self.now_s


def test_rate_and_time_to_the_end_are_shown() -> None:
    """Half of the digests in two seconds leave two seconds to go."""
    stream, clock = io.StringIO(), Clock()
    progress = Progress(1000, stream, clock)

    clock.now_s = 2.0
    progress.show(500)

    assert stream.getvalue() == "signed 500 of 1,000 (50%)  250/s  ETA 2 s\n"


def test_without_a_terminal_there_are_few_lines() -> None:
    """A log gets a line every five seconds, and always the last one."""
    stream, clock = io.StringIO(), Clock()
    progress = Progress(100, stream, clock)

    for step in range(0, 100, 10):
        clock.now_s = step / 10
        progress.show(step)
    progress.show(100, last=True)

    assert len(stream.getvalue().splitlines()) == 3


def test_on_a_terminal_the_line_is_rewritten() -> None:
    """The last call ends the line."""
    stream, clock = Terminal(), Clock()
    progress = Progress(100, stream, clock)

    progress.show(0)
    clock.now_s = 1.0
    progress.show(50)
    progress.show(100, last=True)

    assert stream.getvalue().count("\n") == 1
    assert stream.getvalue().count("\r\x1b[K") == 3


def test_before_the_first_signature_the_end_is_unknown() -> None:
    """Without a rate the time left is unknown, neither zero nor infinite."""
    stream = io.StringIO()

    Progress(10, stream, Clock()).show(0)

    assert "ETA unknown" in stream.getvalue()
