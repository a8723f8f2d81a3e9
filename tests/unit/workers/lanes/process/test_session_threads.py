"""Session threads: which runs they begin, and which failures end the lane."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from queueing.errors import SigningError, TokenUnavailable
from queueing.protocol.algorithms import Algorithm
from tests.support.fakes.config_files import p256_key
from tests.support.fakes.fake_lane import FakeClock
from workers.config.tenants import KeyVersion
from workers.hsm.faults import HsmFailure, failure_for_code
from workers.hsm.native.loop import NativeLoop
from workers.hsm.sessions import SessionPool
from workers.lanes.process import session_threads
from workers.lanes.process.chunk_execution import ChunkExecution, Run, RunLength
from workers.lanes.process.session_threads import (
    DROP_WINDOW_S,
    DROPS_BEFORE_END,
    RunWork,
    SessionThread,
    SessionThreads,
)
from workers.lanes.protocol import Outcomes


@dataclass
class FakeLane:
    """Lane that keeps what its threads tell it, instead of ending the process."""

    policy_version: int = 1
    failures: list[HsmFailure] = field(default_factory=list)
    alive: int = 0
    answers: list[Outcomes] = field(default_factory=list)

    def end(self, failure: HsmFailure) -> None:
        self.failures.append(failure)

    def report_alive(self) -> None:
        self.alive += 1

    def send(self, outcomes: Outcomes) -> None:
        self.answers.append(outcomes)


@pytest.fixture
def lane() -> FakeLane:
    return FakeLane()


@pytest.fixture
def threads(lane: FakeLane) -> SessionThreads:
    """Threads of a pool without sessions: none is started, and the test runs the work itself."""
    pool = SessionPool.__new__(SessionPool)
    pool._sessions = []
    return SessionThreads(pool, run_length=RunLength(1), verify=True, lane=lane)


def run_of(lane: FakeLane, policy_version: int) -> Run:
    version = KeyVersion(
        key="release",
        version=1,
        state="active",
        public_key=p256_key(1),
        tokens=("acme",),
        expires_at_ms=None,
        certificates=(),
    )
    chunk = ChunkExecution(7, lane, policy_version=policy_version)
    run = Run(chunk, Algorithm.ECDSA_SHA_256, version)
    run.digests += [bytes(32)] * 3
    chunk._unfinished = 1
    return run


def test_a_run_of_an_older_policy_is_not_signed(lane: FakeLane, threads: SessionThreads) -> None:
    """Its digests fail as retryable, so that they are authorised again by the policy in force."""
    run = run_of(lane, policy_version=1)
    lane.policy_version = 2
    RunWork(run, threads).on_thread(SessionThread(0, threads))
    assert [type(outcome) for outcome in run.done] == [TokenUnavailable] * 3
    assert len(lane.answers) == 1
    assert not lane.failures


class ScriptedSigner:
    """Signer of a thread that signs two digests by its native loop, and is told of a change meanwhile."""

    def __init__(self, thread: SessionThread, change: Callable[[], None]) -> None:
        self._thread = thread
        self._change = change
        self.seen: list[tuple[Run, int] | None] = []

    def sign_run(self, _: Algorithm, digests: Sequence[bytes], done: list[bytes | SigningError]) -> None:
        native = self._thread.native
        assert native is not None
        self.seen.append(self._thread.progress())
        native._run.signed = 2
        self.seen.append(self._thread.progress())
        self._change()
        native._run.signed = 0
        done += [b"signature"] * (2 if native._run.stop else len(digests))


def natively(threads: SessionThreads) -> SessionThread:
    """Thread with a native loop, one of all threads of the lane."""
    threads.native = NativeLoop(None, c_sign_init=1, c_sign=2)
    thread = SessionThread(0, threads)
    threads._threads = [thread]
    return thread


def test_a_changed_policy_stops_the_run_under_way(
    lane: FakeLane, threads: SessionThreads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was signed by then stays; the rest is authorised again."""
    thread, run = natively(threads), run_of(lane, policy_version=1)

    def change() -> None:
        lane.policy_version = 2
        threads.stop_runs()

    signer = ScriptedSigner(thread, change)
    monkeypatch.setattr(thread, "signer", lambda _: signer)
    RunWork(run, threads).on_thread(thread)
    assert [type(outcome) for outcome in run.done] == [bytes, bytes, TokenUnavailable]


def test_a_stop_without_another_policy_signs_the_rest(
    lane: FakeLane, threads: SessionThreads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reload that changed nothing for this tenant; and a stop of before the run is of no effect."""
    thread, run = natively(threads), run_of(lane, policy_version=1)
    threads.stop_runs()
    changes = [threads.stop_runs]

    def first_alone() -> None:
        if changes:
            changes.pop()()

    signer = ScriptedSigner(thread, first_alone)
    monkeypatch.setattr(thread, "signer", lambda _: signer)
    RunWork(run, threads).on_thread(thread)
    assert run.done == [b"signature"] * 3


def test_the_watchdog_sees_signatures_of_a_native_loop_under_way(
    lane: FakeLane, threads: SessionThreads, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread, run = natively(threads), run_of(lane, policy_version=1)
    signer = ScriptedSigner(thread, lambda: None)
    monkeypatch.setattr(thread, "signer", lambda _: signer)
    RunWork(run, threads).on_thread(thread)
    assert signer.seen == [(run, 0), (run, 2)]
    assert thread.progress() is None


def test_sessions_that_keep_failing_end_the_lane(
    lane: FakeLane, threads: SessionThreads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several lost sessions within seconds end it; as many over a longer time do not."""
    clock = FakeClock()
    monkeypatch.setattr(session_threads, "time", clock)
    dropped = failure_for_code(0x150)
    for _ in range(2 * DROPS_BEFORE_END):
        threads.record_drop(dropped)
        clock.now += DROP_WINDOW_S / (DROPS_BEFORE_END - 1) + 0.01
    clock.now += DROP_WINDOW_S
    for _ in range(DROPS_BEFORE_END - 1):
        threads.record_drop(dropped)
    before = list(lane.failures)
    threads.record_drop(dropped)
    assert (before, [str(failure) for failure in lane.failures]) == (
        [],
        ["SESSIONS_KEEP_FAILING: CKR_BUFFER_TOO_SMALL"],
    )
