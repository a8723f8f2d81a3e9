"""Session threads: one per session, fed from one queue. A failing session is replaced, a failing process ends."""

from __future__ import annotations

import threading
import time
from collections import deque
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final, Protocol

from queueing.errors import SigningError, TokenUnavailable
from workers.hsm.faults import Action, HsmFailure, to_signing_error
from workers.hsm.keys import KeyMissing, find_key, object_handle, session_handle
from workers.hsm.signing import Signer, Timing

if TYPE_CHECKING:
    from workers.config.tenants import KeyVersion
    from workers.hsm.native.loop import NativeLoop
    from workers.hsm.sessions import SessionPool
    from workers.lanes.process.chunk_execution import Run, RunLength

MOST_TRIES: Final = 3
"""A run on which so many sessions failed is answered as a fault of the HSM."""

DROPS_BEFORE_END: Final = 2
DROP_WINDOW_S: Final = 5.0
"""Two sessions lost within five seconds: not the session has failed (table of PKCS#11 errors)."""


class LaneControl(Protocol):
    """Lane process as its threads see it."""

    @property
    def policy_version(self) -> int:
        """Version of the policy in force: no run of an older one is begun."""

    def end(self, failure: HsmFailure) -> None:
        """Report the failure to the worker and end the process."""

    def report_alive(self) -> None:
        """Report to the worker that calls of the module return."""


class Work(Protocol):
    """Work for a session thread and its signers."""

    def on_thread(self, thread: SessionThread) -> None:
        """Do the work on this thread; an exception that escapes ends the lane."""


class SessionThread(threading.Thread):
    """Thread that owns the session at its index, and the keys found in it. Handles never cross threads."""

    def __init__(self, index: int, threads: SessionThreads) -> None:
        super().__init__(name=f"session-{index}", daemon=True)
        self._index = index
        self._threads = threads
        self._signers: dict[bytes, Signer] = {}
        self.spent = Timing()
        self.native = None if threads.native is None else threads.native.for_thread()
        self.current: Run | None = None

    def run(self) -> None:
        """Do work from the queue until the stop mark."""
        take = self._threads.queue.get
        while True:
            work = take()
            if work is None:
                return
            try:
                work.on_thread(self)
            except BaseException as error:  # noqa: BLE001 - whatever it is, the state of this process is unknown
                self._threads.lane.end(_as_failure(error))

    def signer(self, version: KeyVersion) -> Signer:
        """The signer of this key on this session. Raises ``SigningError`` or ``HsmFailure``."""
        public_key = version.public_key
        signer = self._signers.get(public_key.sha256)
        if signer is None:
            session = self._threads.pool.sessions[self._index]
            try:
                key = find_key(session, public_key)
            except KeyMissing:
                if public_key.sha256 in self._threads.keys_seen:
                    # It was there: the login is gone, or the token. A new process finds out.
                    raise HsmFailure("KEY_WENT_AWAY", -1, Action.REPLACE_LANE) from None
                raise
            native = (
                None if self.native is None else self.native.key(session_handle(session), object_handle(key))
            )
            signer = Signer(key, public_key, verify=self._threads.verify, spent=self.spent, native=native)
            self._threads.keys_seen.add(public_key.sha256)
            self._signers[public_key.sha256] = signer
        return signer

    def replace_session(self, failure: HsmFailure) -> None:
        """Open a new session in place of the one that failed so; its keys are looked up again."""
        self._threads.record_drop(failure)
        self._signers.clear()
        self._threads.pool.replace(self._index)

    def progress(self) -> tuple[Run, int] | None:
        """Run of this thread, and the number of its signatures and errors so far; None while it is idle."""
        if (run := self.current) is None:
            return None
        return run, len(run.done) + (0 if self.native is None else self.native.signed)


class SessionThreads:
    """All session threads of a lane, their queue, and the state that they share."""

    def __init__(
        self,
        pool: SessionPool,
        *,
        run_length: RunLength,
        verify: bool,
        lane: LaneControl,
        native: NativeLoop | None = None,
    ) -> None:
        self.pool = pool
        self.native = native
        self.lane = lane
        self.queue: SimpleQueue[Work | None] = SimpleQueue()
        self.run_length = run_length
        self.verify = verify
        self.keys_seen: set[bytes] = set()
        self._drops: deque[float] = deque(maxlen=DROPS_BEFORE_END)
        self._threads = [SessionThread(i, self) for i in range(len(pool.sessions))]
        for thread in self._threads:
            thread.start()

    def record_drop(self, failure: HsmFailure) -> None:
        """Record a session that was lost by this failure; too many within the window end the lane."""
        now = time.monotonic()
        self._drops.append(now)
        if len(self._drops) == DROPS_BEFORE_END and now - self._drops[0] < DROP_WINDOW_S:
            self.lane.end(
                HsmFailure("SESSIONS_KEEP_FAILING", -1, Action.REPLACE_LANE, detail=failure.code_name)
            )

    def stop(self) -> None:
        """Let each thread finish what is queued before this call, then end."""
        for _ in self._threads:
            self.queue.put(None)
        for thread in self._threads:
            thread.join()

    def progress(self) -> list[tuple[Run, int] | None]:
        """Run of each thread and the number of its outcomes, for the watchdog; None where it is idle."""
        return [thread.progress() for thread in self._threads]

    def stop_runs(self) -> None:
        """Stop the runs under way after the call of the module that each is in: the policy has changed."""
        for thread in self._threads:
            if thread.native is not None:
                thread.native.stop()


class RunWork:
    """Run as work for a session thread."""

    __slots__ = ("_run", "_threads")

    def __init__(self, run: Run, threads: SessionThreads) -> None:
        self._run = run
        self._threads = threads

    def on_thread(self, thread: SessionThread) -> None:
        """Sign the rest of the run; it has all outcomes when this returns, unless the lane ends."""
        run, spent = self._run, thread.spent
        thread.current = run
        calls, sign_s, verify_s = spent.calls, spent.sign_s, spent.verify_s
        try:
            while run.left:
                if thread.native is not None:
                    thread.native.go_on()  # before the policy is looked at: a stop after that counts
                if run.policy_version == self._threads.lane.policy_version:
                    self._attempt(thread, run)
                else:
                    run.fail_rest(
                        TokenUnavailable("the policy changed before this was signed: it is authorised again")
                    )
        finally:
            thread.current = None
        run.sign_s, run.verify_s = spent.sign_s - sign_s, spent.verify_s - verify_s
        run.calls = spent.calls - calls
        run.finish()

    def _attempt(self, thread: SessionThread, run: Run) -> None:
        before, started = len(run.done), time.monotonic()
        try:
            thread.signer(run.key_version).sign_run(run.algorithm, run.left, run.done)
        except SigningError as error:
            run.fail_rest(error)
        except HsmFailure as failure:
            self._recover(thread, run, failure)
        else:
            if signed := len(run.done) - before:
                self._threads.run_length.measured(run.algorithm, signed, time.monotonic() - started)

    def _recover(self, thread: SessionThread, run: Run, failure: HsmFailure) -> None:
        run.tries += 1
        if failure.action in {Action.REPLACE_LANE, Action.OPEN_CIRCUIT}:
            self._threads.lane.end(failure)
        elif run.tries >= MOST_TRIES or failure.action is Action.PERMANENT:
            run.fail_rest(to_signing_error(failure))
        elif failure.action is Action.DROP_SESSION:
            thread.replace_session(failure)
        else:
            time.sleep(0.05 * run.tries)


class Watchdog(threading.Thread):
    """Thread that ends the lane when a call does not return within ``call_timeout_s``; no thread can be stopped in C.

    While there is work it also reports that the lane is alive: the worker watches the lane as the lane its calls.
    """

    def __init__(self, threads: SessionThreads, *, call_timeout_s: float) -> None:
        super().__init__(name="watchdog", daemon=True)
        self._threads = threads
        self._call_timeout_s = call_timeout_s

    def run(self) -> None:
        """Check the progress of every thread, for ever."""
        seen: list[tuple[Run, int] | None] = []
        since: list[float] = []
        while True:
            time.sleep(min(self._call_timeout_s / 10, 1.0))
            now, present = time.monotonic(), self._threads.progress()
            since = [
                since[i] if i < len(seen) and mark is not None and mark == seen[i] else now
                for i, mark in enumerate(present)
            ]
            seen = present
            if any(mark is not None for mark in present):
                self._threads.lane.report_alive()
            if any(now - start > self._call_timeout_s for start in since):
                self._threads.lane.end(HsmFailure("CALL_TIMED_OUT", -1, Action.REPLACE_LANE))


def _as_failure(error: BaseException) -> HsmFailure:
    if isinstance(error, HsmFailure):
        return error
    return HsmFailure("LANE_BROKE", -1, Action.REPLACE_LANE, detail=type(error).__name__)
