"""Words of a child on its stderr: each line is an event, and a flood of them is bounded."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.waiting import turn
from workers.telemetry import child_output
from workers.telemetry.child_output import LAST_LINES, MOST_BYTES, MOST_LINES, WINDOW_S, ChildOutput


@dataclass(slots=True)
class Spoken:
    """A child's output, with a clock that the test moves."""

    caplog: pytest.LogCaptureFixture
    now: float = 100.0
    output: ChildOutput = field(init=False)

    def __post_init__(self) -> None:
        self.output = ChildOutput("acme")

    def monotonic(self) -> float:
        """The clock, in place of ``time``."""
        return self.now

    async def say(self, words: bytes) -> None:
        """Write as the child does, and let the loop read it."""
        os.write(self.output.descriptor, words)
        await turn()

    def events(self) -> list[tuple[str, int]]:
        """Text and lines left out of each event so far; they are of this token."""
        found = [vars(record) for record in self.caplog.records if record.msg == "lane.wrote"]
        assert all(each["token"] == "acme" for each in found)
        return [(each["text"], each["left_out"]) for each in found]


def open_descriptors() -> int:
    """Number of open descriptors of this process, the one of this look included."""
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
async def spoken(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Spoken]:
    made = Spoken(caplog)
    monkeypatch.setattr(child_output, "time", made)
    yield made
    made.output.finish()


async def test_each_line_is_an_event(spoken: Spoken) -> None:
    """Also one that comes in parts; empty lines are none."""
    await spoken.say(b"first\n\n  \nsec")
    assert spoken.events() == [("first", 0)]
    await spoken.say(b"ond\n")
    assert spoken.events() == [("first", 0), ("second", 0)]


async def test_the_last_words_are_logged_without_a_line_end(spoken: Spoken) -> None:
    """What a process says when it aborts is still in the pipe when it has ended."""
    os.write(spoken.output.descriptor, b"one\nfree(): invalid pointer")
    spoken.output.finish()
    assert spoken.events() == [("one", 0), ("free(): invalid pointer", 0)]
    spoken.output.finish()
    assert len(spoken.events()) == 2


async def test_a_child_that_has_ended_leaves_no_descriptor(spoken: Spoken) -> None:
    """The end of the stream closes the reader, after its last line."""
    before = open_descriptors()
    os.write(spoken.output.descriptor, b"bye")
    spoken.output.started()
    await turn()
    assert spoken.events() == [("bye", 0)]
    assert open_descriptors() == before - 2


async def test_a_line_is_cut_and_need_not_be_text(spoken: Spoken) -> None:
    """Bytes that are not UTF-8 are replaced; the rest of a long line is not kept."""
    await spoken.say(b"f\xfcr " + b"x" * 4 * MOST_BYTES + b"\nnext\n")
    (text, _), following = spoken.events()
    assert text.startswith("f\ufffdr x")
    assert len(text) <= MOST_BYTES
    assert following == ("next", 0)


async def test_the_last_words_of_a_flood_are_logged_when_the_child_ends(spoken: Spoken) -> None:
    """A module that prints a line a signature says in the last ones why it aborts."""
    await spoken.say(b"word\n" * (MOST_LINES + 70) + b"free(): invalid pointer\n")
    spoken.output.finish()
    last = spoken.events()[MOST_LINES:]
    assert len(last) == LAST_LINES
    assert (last[0], last[-1]) == (("word", 71 - LAST_LINES), ("free(): invalid pointer", 0))


async def test_a_flood_is_bounded_and_counted(spoken: Spoken) -> None:
    """Beyond the lines of a minute they are counted, and the next event tells how many."""
    await spoken.say(b"word\n" * (MOST_LINES + 70))
    assert len(spoken.events()) == MOST_LINES
    spoken.now += WINDOW_S
    await spoken.say(b"again\nand again\n")
    assert spoken.events()[MOST_LINES:] == [("again", 70), ("and again", 0)]
