"""Whether lanes end because of a job, or because the token is ill; and what each job has done. Pure: no clock, no I/O.

One job that breaks its lane while others are signed is to blame; lanes that end one after the other and sign nothing
in between speak against the token, and no job is set aside for that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from workers.lanes.supervisor.batching import Slice

ENDS_IN_A_ROW: Final = 3
"""As many lanes as one job may break: after that the token is left alone for a while, and then for the first one that ends
until it has signed something."""


class TokenBlame:
    """What is held against the token of a group of lanes."""

    def __init__(self) -> None:
        self._ends = 0
        self._on_probation = False
        self._blamed_unproven = False

    @property
    def of_token(self) -> bool:
        """Whether too many lanes have ended in a row."""
        return self._ends >= (1 if self._on_probation else ENDS_IN_A_ROW)

    @property
    def in_mind(self) -> bool:
        """Whether anything is held against the token."""
        return self._on_probation or self._ends > 0

    def lane_ended(self) -> None:
        """A lane ended over its work."""
        self._ends += 1

    def signed(self) -> None:
        """The token signs: nothing is held against it, and who was blamed was rightly blamed."""
        self._ends = 0
        self._on_probation = self._blamed_unproven = False

    def left_alone(self) -> None:
        """The circuit was opened: after the pause the token has one chance."""
        self._ends = 0
        self._on_probation = True

    def may_blame(self) -> bool:
        """Whether a job that broke too many lanes may be set aside: one, until the token has signed for somebody else.

        A module that crashes at every call would take all jobs with it, one by one.
        """
        if self._blamed_unproven:
            return False
        self._blamed_unproven = True
        self._ends = 0
        return True


MOST_RECORDS: Final = 1024
"""Jobs on record; beyond that the oldest is forgotten, and begins anew."""


class JobCrashHistory:
    """How lanes ended over each job, also while it was back in the queue: it does not begin anew with each claim."""

    def __init__(self) -> None:
        self._of: dict[bytes, tuple[tuple[str, ...], int]] = {}

    def __bool__(self) -> bool:
        return bool(self._of)

    def note(self, piece: Slice) -> None:
        """A lane ended over this."""
        self._of.pop(piece.job.job_id, None)
        if len(self._of) >= MOST_RECORDS:
            del self._of[next(iter(self._of))]
        self._of[piece.job.job_id] = (piece.crashes, piece.faults)

    def recall(self, piece: Slice) -> None:
        """What is on record of its job; then it is signed alone."""
        known = self._of.get(piece.job.job_id)
        if known is not None:
            piece.crashes, piece.faults = known
            piece.alone = True

    def forget(self, job_id: bytes) -> None:
        """The job has its outcome."""
        self._of.pop(job_id, None)
