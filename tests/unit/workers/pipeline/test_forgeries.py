"""The guard of the log: which envelopes are verified before their intents, for how long, and what a restart remembers."""

from __future__ import annotations

import asyncio
import itertools
import time
from pathlib import Path

import pytest

from queueing.errors import (
    ClientUnknown,
    EnvelopeAudience,
    EnvelopeMalformed,
    EnvelopeSignature,
    GrantMalformed,
    GrantRefused,
    HsmFault,
    SigningError,
)
from tests.support.fakes.active_jobs import job_in_work
from workers.active_job import ActiveJob
from workers.pipeline import forgeries
from workers.pipeline.forgeries import (
    LARGEST_UNVERIFIED_BYTES,
    LONGEST_S,
    SHORTEST_S,
    UNPROVEN_BYTES,
    ForgeryGuard,
)
from workers.state.forged_envelopes import FILE_NAME, ForgedFor, keep_forged, read_forged

SMALL = 400
"""Bytes of an envelope with one digest."""


class Clock:
    """Time since boot, and Unix time beside it; both are moved by the test."""

    def __init__(self) -> None:
        self.now_s = 50.0
        self.ahead_s = 1_800_000_000.0

    def monotonic_s(self) -> float:
        return self.now_s

    def unix_s(self) -> float:
        return self.now_s + self.ahead_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def guard(clock: Clock, tmp_path: Path) -> ForgeryGuard:
    return guard_of(clock, tmp_path)


def guard_of(clock: Clock, state_dir: Path) -> ForgeryGuard:
    return ForgeryGuard(state_dir, now_s=clock.monotonic_s)


def ended(error: SigningError | None = None, *, tenant: str = "acme", intended: bool = True) -> ActiveJob:
    job = job_in_work(tenant=tenant)
    job.intended = intended
    job.failure = error
    return job


def test_a_small_envelope_is_left_to_its_lane_and_a_large_one_never(guard: ForgeryGuard) -> None:
    """A forger fills a log with few jobs only if these are large; of a large one the check costs least for each digest."""
    assert not guard.must_verify("acme", LARGEST_UNVERIFIED_BYTES)
    assert guard.must_verify("acme", LARGEST_UNVERIFIED_BYTES + 1)


def test_so_many_bytes_pass_until_a_lane_has_found_a_good_envelope(guard: ForgeryGuard) -> None:
    """However long Redis or the lanes keep the worker waiting for the first verdict."""
    passed = 0
    while not guard.must_verify("acme", SMALL):
        guard.passed("acme", SMALL)
        passed += SMALL
    assert UNPROVEN_BYTES - SMALL < passed <= UNPROVEN_BYTES
    assert not guard.must_verify("globex", SMALL)
    guard.judged(ended(HsmFault()))
    assert guard.must_verify("acme", SMALL), "nothing is known of an envelope whose lane crashed"
    guard.judged(ended(tenant="globex"))
    assert guard.must_verify("acme", SMALL), "another tenant's job says nothing"
    guard.judged(ended())
    assert not guard.must_verify("acme", SMALL)


@pytest.mark.parametrize(
    "error",
    [ClientUnknown(), EnvelopeAudience(), EnvelopeMalformed(), EnvelopeSignature(), GrantMalformed(), GrantRefused()],
    ids=lambda error: error.reason,
)  # fmt: skip
def test_whatever_unauthenticated_envelope_got_an_intent_it_is_the_last_one(
    guard: ForgeryGuard, clock: Clock, error: SigningError
) -> None:
    guard.judged(ended(error))
    assert guard.must_verify("acme", SMALL)
    assert not guard.must_verify("globex", SMALL)
    clock.now_s += SHORTEST_S
    assert not guard.must_verify("acme", SMALL)


@pytest.mark.parametrize("error, forged", [(EnvelopeMalformed(), False), (ClientUnknown(), False), (EnvelopeSignature(), True)],
    ids=["malformed", "unknown", "signature"])  # fmt: skip
def test_rubbish_that_needs_no_check_begins_none(
    guard: ForgeryGuard, error: SigningError, forged: bool
) -> None:
    """It never gets an intent; an envelope in a client's name, which was checked for its size, may be the first of many."""
    guard.judged(ended(error, intended=False))
    assert guard.must_verify("acme", SMALL) is forged


def test_a_forgery_that_is_refused_meanwhile_extends_the_time(guard: ForgeryGuard, clock: Clock) -> None:
    guard.judged(ended(EnvelopeSignature()))
    clock.now_s += SHORTEST_S - 1
    guard.judged(ended(EnvelopeSignature(), intended=False))
    clock.now_s += SHORTEST_S - 1
    assert guard.must_verify("acme", SMALL)
    clock.now_s += 1
    assert not guard.must_verify("acme", SMALL)


def test_a_forger_who_waits_gets_ever_fewer_rounds(guard: ForgeryGuard, clock: Clock) -> None:
    """A window that another forgery follows is twice as long, up to a day: eight rounds on the first day, then one a day."""
    begins = []
    for _ in range(12):
        begins.append(clock.now_s)
        guard.judged(ended(EnvelopeSignature()))
        clock.now_s = next(
            now_s
            for now_s in itertools.count(clock.now_s + SHORTEST_S, SHORTEST_S / 2)
            if not self_verifying(guard, clock, now_s)
        )
    day_s = begins[0] + LONGEST_S
    assert sum(begin < day_s for begin in begins) == 8
    assert begins[-1] - begins[-2] == LONGEST_S


def self_verifying(guard: ForgeryGuard, clock: Clock, now_s: float) -> bool:
    clock.now_s = now_s
    return guard.must_verify("acme", SMALL)


def test_a_day_without_a_forgery_makes_the_time_short_again(guard: ForgeryGuard, clock: Clock) -> None:
    """One wrong client key does not slow its tenant down for good."""
    for _ in range(3):
        guard.judged(ended(EnvelopeSignature()))
        clock.now_s += 4 * SHORTEST_S
    clock.now_s += LONGEST_S
    guard.judged(ended(EnvelopeSignature()))
    clock.now_s += SHORTEST_S
    assert not guard.must_verify("acme", SMALL)


def test_a_restart_remembers_who_was_forged_and_for_how_long(clock: Clock, tmp_path: Path) -> None:
    guard = guard_of(clock, tmp_path)
    for _ in range(2):
        guard.judged(ended(EnvelopeSignature()))
        clock.now_s += SHORTEST_S
    kept = guard.state(clock.unix_s())
    clock.ahead_s += 10_000  # a restart of the host sets its time since boot back
    clock.now_s -= 10_000
    after = guard_of(clock, tmp_path)
    after.continue_from(kept, clock.unix_s())
    assert after.must_verify("acme", SMALL)
    clock.now_s += SHORTEST_S
    assert not after.must_verify("acme", SMALL)
    after.judged(ended(EnvelopeSignature()))
    clock.now_s += 4 * SHORTEST_S - 1
    assert after.must_verify("acme", SMALL), "the next window is twice as long"


@pytest.mark.parametrize("until_s", [0.0, 2.0**40])
def test_a_clock_that_was_set_makes_no_window_longer(clock: Clock, tmp_path: Path, until_s: float) -> None:
    guard = guard_of(clock, tmp_path)
    guard.continue_from({"acme": ForgedFor(window_s=SHORTEST_S, until_s=until_s)}, clock.unix_s())
    clock.now_s += SHORTEST_S
    assert not guard.must_verify("acme", SMALL)


async def test_what_is_kept_is_what_the_next_start_reads(
    clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the end too, so that an orderly stop forgets nothing; what is over for a day is dropped."""
    guard = guard_of(clock, tmp_path)
    guard.judged(ended(EnvelopeSignature(), tenant="globex"))
    clock.now_s += SHORTEST_S + LONGEST_S
    guard.judged(ended(EnvelopeSignature()))
    await stopped(guard, clock, monkeypatch)
    assert read_forged(tmp_path) == {
        "acme": ForgedFor(window_s=SHORTEST_S, until_s=clock.unix_s() + SHORTEST_S)
    }
    after = guard_of(clock, tmp_path)
    await stopped(after, clock, monkeypatch)
    assert after.must_verify("acme", SMALL)
    assert not after.must_verify("globex", SMALL)


async def stopped(guard: ForgeryGuard, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the guard until it has read what was kept, and cancel it."""
    read = asyncio.Event()

    async def pause(_seconds: float) -> None:
        read.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio, "sleep", pause)
    monkeypatch.setattr(time, "time", clock.unix_s)
    running = asyncio.ensure_future(guard.run())
    await read.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    monkeypatch.undo()


@pytest.mark.parametrize("content", [b"", b"\xff" * 64, b"\0" * 4096])
def test_a_damaged_file_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)
    assert read_forged(tmp_path) == {}
    keep_forged(tmp_path, {})
    assert read_forged(tmp_path) == {}


async def test_a_disk_that_takes_nothing_is_told_once(
    clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The worker tries again each time, and logs the same error no more."""
    monkeypatch.setattr(forgeries, "KEEP_S", 0.0)
    (tmp_path / "file").write_bytes(b"")
    guard = guard_of(clock, tmp_path / "file" / "below")
    guard.judged(ended(EnvelopeSignature()))
    tries, told, loop = itertools.count(1), asyncio.Event(), asyncio.get_running_loop()

    def keep(state_dir: Path, state: dict[str, ForgedFor]) -> None:
        if next(tries) == 3:
            loop.call_soon_threadsafe(told.set)
        keep_forged(state_dir, state)

    monkeypatch.setattr(forgeries, "keep_forged", keep)
    running = asyncio.ensure_future(guard.run())
    await told.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert [line.msg for line in caplog.records] == ["jobs.forgeries_not_kept"]
