"""Time-stamp servers: asked in order, paced, tried again, rested and given up, by a clock of the test's own."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from queueing.artifacts.time_stamps import servers as server_rules
from queueing.artifacts.time_stamps.servers import TimeStampServers, TransportFailed
from queueing.artifacts.time_stamps.tokens import TimeStampInvalid, TimeStampRequest
from queueing.errors import TimeStampUnavailable
from tests.support.waiting import turn


@dataclass(slots=True)
class FakeClock:
    """Time that only sleeping moves."""

    now: float = 0.0

    def now_s(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


@dataclass(slots=True)
class FakeTransport:
    """Servers by URL: the answers to come, the last one for ever. An exception is raised."""

    clock: FakeClock
    answers: dict[str, list[bytes | Exception]]
    asked: list[tuple[str, float]] = field(default_factory=list)

    async def post(self, url: str, body: bytes) -> bytes:
        self.asked.append((url, self.clock.now))
        queue = self.answers[url]
        answer = queue.pop(0) if len(queue) > 1 else queue[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


GOOD, BAD, AWAY = b"good", b"bad", TransportFailed("the server cannot be reached: refused")


@pytest.fixture(autouse=True)
def _opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """``GOOD`` is a valid time-stamp, every other answer is none."""

    def opened(self: TimeStampRequest, answer: bytes) -> bytes:
        if answer != GOOD:
            raise TimeStampInvalid("the time-stamp is over other data than was sent")
        return answer

    monkeypatch.setattr(TimeStampRequest, "opened", opened)


def servers(
    *answers: list[bytes | Exception], pause_s: float = 0.0
) -> tuple[TimeStampServers, FakeTransport, FakeClock]:
    clock = FakeClock()
    transport = FakeTransport(clock, {f"http://{i}": list(each) for i, each in enumerate(answers)})
    return (
        TimeStampServers(list(transport.answers), transport, pause_s=pause_s, clock=clock),
        transport,
        clock,
    )


async def test_files_that_wait_for_a_server_that_fails_are_sent_to_the_next() -> None:
    """Each would wait for its time-out, four at once: hundreds of files for a quarter of an hour."""
    clock = FakeClock()
    asked: list[str] = []

    class Hanging:
        async def post(self, url: str, body: bytes) -> bytes:
            asked.append(url)
            await turn()
            if url == "http://1":
                return GOOD
            raise AWAY

    both = TimeStampServers(["http://0", "http://1"], Hanging(), clock=clock)
    await asyncio.gather(*(both.time_stamp("sha256", b"s") for _ in range(60)))
    assert asked.count("http://1") == 60
    assert asked.count("http://0") <= 8


async def test_the_first_server_is_asked_first() -> None:
    """The others are not asked while it answers."""
    asked, transport, clock = servers([GOOD], [GOOD])
    for _ in range(3):
        await asked.time_stamp("sha256", b"s")
    assert [url for url, _ in transport.asked] == ["http://0"] * 3
    assert clock.now == 0


@pytest.mark.parametrize("failure", [AWAY, BAD])
async def test_the_next_server_is_asked_at_once(failure: bytes | Exception) -> None:
    """If one is away, or answers with something that is no valid time-stamp."""
    asked, transport, clock = servers([failure], [GOOD])
    await asked.time_stamp("sha256", b"s")
    assert [url for url, _ in transport.asked] == ["http://0", "http://1"]
    assert clock.now == 0


async def test_a_server_is_tried_again() -> None:
    """With growing pauses."""
    asked, transport, _ = servers([AWAY, AWAY, AWAY, GOOD])
    await asked.time_stamp("sha256", b"s")
    assert [at for _, at in transport.asked] == [0, 0.5, 1.5, 3.5]


async def test_requests_are_paced() -> None:
    """No two to one server within the pause."""
    asked, transport, _ = servers([GOOD], pause_s=15.0)
    for _ in range(3):
        await asked.time_stamp("sha256", b"s")
    assert [at for _, at in transport.asked] == [0, 15, 30]


async def test_a_server_that_fails_in_a_row_rests() -> None:
    """The next files go to the other server, without a request to it."""
    asked, transport, _ = servers([AWAY], [GOOD])
    for _ in range(20):
        await asked.time_stamp("sha256", b"s")
    assert [url for url, _ in transport.asked].count("http://0") == 5


async def test_a_dead_server_fails_files_within_their_time_and_is_given_up() -> None:
    """A file waits for two minutes at most; once the server is given up, the others fail at once."""
    asked, transport, clock = servers([AWAY])
    with pytest.raises(TimeStampUnavailable, match="http://0: the server cannot be reached"):
        await asked.time_stamp("sha256", b"s")
    assert clock.now <= 120
    for _ in range(3):
        with pytest.raises(TimeStampUnavailable):
            await asked.time_stamp("sha256", b"s")
    before, count = clock.now, len(transport.asked)
    for _ in range(100):
        with pytest.raises(TimeStampUnavailable, match="http://0: the server cannot be reached"):
            await asked.time_stamp("sha256", b"s")
    assert (clock.now, len(transport.asked)) == (before, count)


async def test_a_server_that_recovers_is_used_again() -> None:
    """After its rest."""
    asked, transport, clock = servers([*[AWAY] * 5, GOOD])
    await asked.time_stamp("sha256", b"s")
    assert clock.now >= server_rules._REST_S
    await asked.time_stamp("sha256", b"s")
    assert len(transport.asked) == 7
