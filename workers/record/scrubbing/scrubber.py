"""Scrubber of a record: round after round over the logs of all tenants, a little of each second of the sealer's loop."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

from queueing.errors import ProofInvalid
from queueing.files.folders import is_there, strange_below
from queueing.files.regular_file import NOT_A_FILE
from workers.record.published import other_tenant, published_checkpoint, tenants_of
from workers.record.scrubbing.log_check import LogCheck
from workers.record.volumes import RecordDamaged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

log = logging.getLogger("sigmill.record")

SHARE_S: Final = 0.05
"""Time for it in each round of the sealer's loop, which takes a second: a twentieth of a core, at the sealer's low priority."""

ROUND_S: Final = 86400.0
"""Least time from the begin of a round to the next one, as of the scrubber of the write-ahead log."""

MOST_PLACES: Final = 100
"""Damaged places that are named; a lost disk has more."""


class RecordScrubber:
    """Reads the logs in ``logs`` again. ``damage``: ``TENANT/FILE: entry N`` of the last round and the present one."""

    def __init__(self, logs: Path, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._logs = logs
        self._clock_s = clock_s
        self._began_at = -ROUND_S
        self._round: Iterator[None] | None = None
        self._former: tuple[str, ...] = ()
        self._found: list[str] = []
        self.entries = 0

    @property
    def damage(self) -> tuple[str, ...]:
        """Damaged places: those of the last round until this one has ended, and what it has found."""
        return tuple(dict.fromkeys((*self._former, *self._found)))[:MOST_PLACES]

    def begin_anew(self) -> None:
        """Begin with a round over other logs: the former record is not looked at any more."""
        self._began_at, self._round, self._former, self._found = -ROUND_S, None, (), []

    def read(self, share_s: float = SHARE_S) -> None:
        """Read on for this time, and one entry at least, where a round is under way or due. An error of the disk ends a round, and is told."""
        until = self._clock_s() + share_s
        if self._round is None:
            if self._clock_s() - self._began_at < ROUND_S:
                return
            self._began_at, self._found = self._clock_s(), []
            self._round = self._check_all()
        try:
            for _ in self._round:
                self.entries += 1
                if self._clock_s() >= until:
                    return
            self._former = tuple(self._found)
        except OSError as error:
            log.error("record.not_scrubbed", extra={"why": str(error)})
        self._round = None

    def _check_all(self) -> Iterator[None]:
        for tenant in sorted(tenants_of(self._logs)) if is_there(self._logs) else ():
            check = self._check(tenant)
            if check is None:
                continue
            told = 0
            for _ in check.run():
                yield
                for place in check.damage[told:]:
                    self._tell(tenant, str(place))
                told = len(check.damage)
            for place in check.damage[told:]:
                self._tell(tenant, str(place))
            for strange in strange_below(self._logs / tenant):
                self._tell(tenant, f"{strange.relative_to(self._logs / tenant)}: not a regular file")

    def _check(self, tenant: str) -> LogCheck | None:
        """Check of the tenant's log; None where there is none to check, and where it is told why. Raises ``OSError``."""
        try:
            checkpoint = published_checkpoint(self._logs / tenant)
            if checkpoint is None:
                return None
            if other := other_tenant(checkpoint, tenant):
                self._tell(tenant, f"checkpoint: a copy of the log of {other}, which is not sealed on")
                return None
            return LogCheck(self._logs / tenant, checkpoint)
        except (RecordDamaged, ProofInvalid) as error:
            self._tell(tenant, str(error))
        except OSError as error:
            if error.errno not in NOT_A_FILE:
                raise
            self._tell(tenant, f"{error.filename}: {error.strerror}")
        return None

    def _tell(self, tenant: str, place: str) -> None:
        if len(self._found) < MOST_PLACES:
            self._found.append(f"{tenant}/{place}")
            log.error("record.rotten", extra={"tenant": tenant, "place": place})
