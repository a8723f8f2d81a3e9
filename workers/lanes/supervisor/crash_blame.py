"""Crash attribution: whether crashed lanes are blamed on a job or on the token, and the crash history of each job. Pure.

One job that crashes its lane while others are signed is to blame. Lanes that crash in a row, with no signature in
between, are blamed on the token, and no job is set aside for that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from workers.lanes.supervisor.batching import Slice

CRASHES_IN_A_ROW: Final = 3
"""As many lanes as one job may crash. After that the circuit breaker opens; when it has closed again the first crash
opens it, until the token has signed something."""

MOST_JOBS: Final = 1024
"""Jobs in the crash history; beyond that the oldest is forgotten, and starts with no crashes."""


class TokenBlame:
    """Crashes of lanes that are blamed on their token."""

    def __init__(self) -> None:
        self._crashes = 0
        self._on_probation = False
        self._blamed_job_unproven = False

    @property
    def too_many_crashes(self) -> bool:
        """Whether too many lanes have crashed in a row."""
        return self._crashes >= (1 if self._on_probation else CRASHES_IN_A_ROW)

    @property
    def has_crashes(self) -> bool:
        """Whether a crash since the last signature counts against the token."""
        return self._on_probation or self._crashes > 0

    @property
    def may_blame_job(self) -> bool:
        """Whether a job that crashed too many lanes may be set aside: one, until the token has signed another.

        A module that crashes at every call would otherwise set aside all jobs, one by one.
        """
        return not self._blamed_job_unproven

    def blame_job(self) -> None:
        """Note that a job was set aside; the crashes so far no longer count against the token."""
        self._blamed_job_unproven = True
        self._crashes = 0

    def record_crash(self) -> None:
        """A lane ended in the middle of its work."""
        self._crashes += 1

    def record_signature(self) -> None:
        """The token has signed: nothing counts against it, and the blame of the job was right."""
        self._crashes = 0
        self._on_probation = self._blamed_job_unproven = False

    def circuit_opened(self) -> None:
        """The circuit breaker has opened: when it closes, the next crash opens it again."""
        self._crashes = 0
        self._on_probation = True


class JobCrashHistory:
    """Crashes and HSM faults of each job, kept also while the job is back in the queue."""

    def __init__(self) -> None:
        self._jobs: dict[bytes, tuple[tuple[str, ...], int]] = {}

    def __bool__(self) -> bool:
        return bool(self._jobs)

    def record(self, slice_: Slice) -> None:
        """Keep the crashes and faults of this slice for its job."""
        self._jobs.pop(slice_.job.job_id, None)
        if len(self._jobs) >= MOST_JOBS:
            del self._jobs[next(iter(self._jobs))]
        self._jobs[slice_.job.job_id] = (slice_.crashes, slice_.faults)

    def apply_to(self, slice_: Slice) -> None:
        """Give a slice the history of its job; with one it is signed alone."""
        known = self._jobs.get(slice_.job.job_id)
        if known is not None:
            slice_.crashes, slice_.faults = known
            slice_.alone = True

    def forget(self, job_id: bytes) -> None:
        """Remove a job that has its outcome."""
        self._jobs.pop(job_id, None)
