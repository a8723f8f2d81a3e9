"""Losses in a bundle: entries which tell that something of a log was lost on its host, in words. The proofs hold nevertheless."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from queueing.errors.counts import counted
from queueing.transparency.event_entries import GapEntry
from workers.record.bundle.findings import Lost

if TYPE_CHECKING:
    from queueing.transparency.entries import EndEntry
    from queueing.transparency.event_entries import WithoutIntentEntry

_MOST_TEXT: Final = 64

_LOG: Final = "the host's write-ahead log"
_GAPS: Final = {
    "damaged": f"{{place}} of {_LOG} were damaged: what this tenant had there is in no entry",
    "missing": f"segments of {_LOG} before segment {{segment}} were not there: what this tenant had in them is in no entry of this log",
    "later": f"{{place}} of {_LOG} are a record that the host's version could not read: what it says is in no entry",
    "unreadable": f"the disk of the host did not give {{place}} of {_LOG}: what this tenant had there is in no entry",
    "wrong": f"{{place}} of {_LOG} are a record of this tenant of which no entry could be made",
}
"""Gaps by their reason. Segments go when they are old, so that a log which begins on a host in use may be behind missing ones."""


def loss_of(index: int, entry: GapEntry | WithoutIntentEntry) -> Lost:
    """Loss that the entry with this index tells of. A reason of a later version is told as damage."""
    if isinstance(entry, GapEntry):
        reason = entry.reason if entry.reason in _GAPS else "damaged"
        return Lost(index, f"gap.{reason}", _gap(entry, reason))
    return Lost(index, "intent.lost", _without_intent(entry))


def outcome_lost(index: int, entry: EndEntry) -> Lost:
    """Loss that the end of a claim without its outcome tells of."""
    what = f"the job of entry {entry.intent} was {entry.kind}, and its outcome is in no entry"
    return Lost(index, "outcome.lost", what)


def _gap(entry: GapEntry, reason: str) -> str:
    place = f"bytes {entry.first} to {entry.end} of segment {entry.segment}"
    more = "; there are further gaps in this segment, which are in no entry" if entry.more else ""
    return f"{_GAPS[reason].format(place=place, segment=entry.segment)}{more}"


def _without_intent(entry: WithoutIntentEntry) -> str:
    if entry.what in {"unknown", "returned-in-doubt"}:
        return f"a job ended in doubt ({entry.what}), and its intent is in no entry: any of its digests may have been signed"
    key = f" by {entry.key[:_MOST_TEXT]}/{entry.key_version}" if entry.key else ""
    dropped = f" and {entry.dropped} that were not released" if entry.dropped else ""
    code = f" ({entry.code[:_MOST_TEXT]})" if entry.code else ""
    made = f"{counted(entry.signed, 'signature')}{key}{dropped}"
    job = "canary" if entry.what == "canary" else "job"
    return f"a {job} ended with {made}{code}, and its intent is in no entry: what was signed is not known from this log"
