"""Log events about places of the write-ahead log that are in no entry, or not whole: each place once, also where it is read again."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workers.record.follower import Place

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workers.journal.damage import Damage
    from workers.record.follower import Gap

log = logging.getLogger("sigmill.record")


@dataclass(frozen=True, slots=True)
class SkippedRecord:
    """Record of which no entry could be made: the place behind it in the write-ahead log, its kind, and the error's class."""

    place: Place
    kind: str
    why: str


class GapTeller:
    """Tells of one record at a time; ``begin_anew`` is for another one, of which everything is told again."""

    def __init__(self) -> None:
        self._damage_told = 0
        self._skipped_told = self._gap_told = Place()

    def continue_log(self) -> None:
        """A sealer begins, whose list of damage is empty."""
        self._damage_told = 0

    def begin_anew(self) -> None:
        """Another record begins."""
        self._skipped_told = self._gap_told = Place()

    def damage(self, places: Sequence[Damage]) -> None:
        """Tell of damaged places, in the order in which the sealer found them."""
        for damage in places[self._damage_told :]:
            log.warning("record.gap", extra={"segment": damage.segment, "offset": damage.offset})
        self._damage_told = len(places)

    def skipped(self, skipped: list[SkippedRecord]) -> Counter[str]:
        """Tell how many records were skipped, and where the first one is; empties the list. Returns failures by reason."""
        new = [each for each in skipped if each.place > self._skipped_told]
        skipped.clear()
        if not new:
            return Counter()
        self._skipped_told = new[-1].place
        first = new[0]
        log.error(
            "record.skipped",
            extra={
                "records": len(new),
                "segment": first.place.segment,
                "offset": first.place.offset,
                "kind": first.kind,
                "why": first.why,
            },
        )
        return Counter(unexpected=len(new))

    def gaps(self, gaps: list[Gap]) -> Counter[str]:
        """Tell of gaps that depend on who reads; empties the list. Returns failures by reason."""
        new = [each for each in gaps if Place(each.segment, each.end) > self._gap_told]
        gaps.clear()
        if not new:
            return Counter()
        self._gap_told = Place(new[-1].segment, new[-1].end)
        later = [each for each in new if each.reason == "later"]
        if later:
            extra = {"records": len(later), "segment": later[0].segment, "offset": later[0].first}
            log.error("record.later", extra=extra)
        for each in new:
            if each.reason == "unreadable":
                place = {"segment": each.segment, "offset": each.first, "size_bytes": each.end - each.first}
                log.error("record.given_up", extra=place)
        return Counter(each.reason for each in new)
