"""What was found: of one check about one thing, and the line that mends it."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable


class State(StrEnum):
    """``note`` is worth knowing and needs nothing; ``unasked``: nobody could say."""

    GOOD = "good"
    NOTE = "note"
    MEND = "mend"
    UNASKED = "unasked"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """``check`` is stable, for programs; ``mend`` is what to type or write, empty where nothing is to be done."""

    check: str
    subject: str
    state: State
    says: str
    mend: str = ""


def good(check: str, subject: str, says: str) -> Finding:
    """As it should be."""
    return Finding(check=check, subject=subject, state=State.GOOD, says=says)


def note(check: str, subject: str, says: str, mend: str = "") -> Finding:
    """Not wrong."""
    return Finding(check=check, subject=subject, state=State.NOTE, says=says, mend=mend)


def mend(check: str, subject: str, says: str, line: str) -> Finding:
    """Wrong; ``line`` mends it."""
    return Finding(check=check, subject=subject, state=State.MEND, says=says, mend=line)


def unasked(check: str, subject: str, says: str, line: str = "") -> Finding:
    """Nobody could say; ``line`` makes that somebody can."""
    return Finding(check=check, subject=subject, state=State.UNASKED, says=says, mend=line)


def worst(findings: Iterable[Finding]) -> State:
    """What decides the exit code: something to mend before something that was not asked."""
    states = {finding.state for finding in findings}
    if State.MEND in states:
        return State.MEND
    return State.UNASKED if State.UNASKED in states else State.GOOD
