"""Findings of ``sigmill doctor``: the result of one check of one subject, and its fix."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable


class State(StrEnum):
    """Result of a check. A warning needs no fix; a skipped check could not be made."""

    OK = "good"
    WARNING = "note"
    FAIL = "mend"
    SKIPPED = "unasked"


class Finding(msgspec.Struct, frozen=True, kw_only=True, rename={"text": "says", "fix": "mend"}):
    """Finding; ``check`` is a stable name for programs, ``fix`` a command or a line of configuration, or empty."""

    check: str
    subject: str
    state: State
    text: str
    fix: str = ""


def ok(check: str, subject: str, text: str) -> Finding:
    """The check passed."""
    return Finding(check=check, subject=subject, state=State.OK, text=text)


def warning(check: str, subject: str, text: str, fix: str = "") -> Finding:
    """The check passed with a remark."""
    return Finding(check=check, subject=subject, state=State.WARNING, text=text, fix=fix)


def fail(check: str, subject: str, text: str, fix: str) -> Finding:
    """The check failed; ``fix`` repairs it."""
    return Finding(check=check, subject=subject, state=State.FAIL, text=text, fix=fix)


def skipped(check: str, subject: str, text: str, fix: str = "") -> Finding:
    """The check could not be made; ``fix`` makes it possible."""
    return Finding(check=check, subject=subject, state=State.SKIPPED, text=text, fix=fix)


def worst(findings: Iterable[Finding]) -> State:
    """State that decides the exit code: a failure before a skipped check."""
    states = {finding.state for finding in findings}
    if State.FAIL in states:
        return State.FAIL
    return State.SKIPPED if State.SKIPPED in states else State.OK
