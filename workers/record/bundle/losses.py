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


def loss_of(index: int, entry: GapEntry | WithoutIntentEntry) -> Lost:
    """Loss that the entry with this index tells of."""
    if isinstance(entry, GapEntry):
        return Lost(index, f"gap.{'wrong' if entry.reason == 'wrong' else 'damaged'}", _gap(entry))
    return Lost(index, "intent.lost", _without_intent(entry))


def outcome_lost(index: int, entry: EndEntry) -> Lost:
    """Loss that the end of a claim without its outcome tells of."""
    what = f"the job of entry {entry.intent} was {entry.kind}, and its outcome is in no entry"
    return Lost(index, "outcome.lost", what)


def _gap(entry: GapEntry) -> str:
    place = f"bytes {entry.first} to {entry.end} of segment {entry.segment} of the host's write-ahead log"
    if entry.reason == "wrong":
        return f"{place} are a record of this tenant of which no entry could be made"
    more = "; later damage of that segment is in no entry" if entry.more else ""
    return f"{place} were damaged: what this tenant had there is in no entry{more}"


def _without_intent(entry: WithoutIntentEntry) -> str:
    if entry.what in {"unknown", "returned-in-doubt"}:
        return f"a job ended in doubt ({entry.what}), and its intent is in no entry: any of its digests may have been signed"
    key = f" by {entry.key[:_MOST_TEXT]}/{entry.key_version}" if entry.key else ""
    dropped = f" and {entry.dropped} that were not released" if entry.dropped else ""
    code = f" ({entry.code[:_MOST_TEXT]})" if entry.code else ""
    made = f"{counted(entry.signed, 'signature')}{key}{dropped}"
    job = "canary" if entry.what == "canary" else "job"
    return f"a {job} ended with {made}{code}, and its intent is in no entry: what was signed is not known from this log"
