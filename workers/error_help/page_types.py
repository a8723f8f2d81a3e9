"""Types of the help text of an error code."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """Step of a solution; ``command`` may be empty, and has placeholders in CAPITALS."""

    text: str
    command: str = ""


@dataclass(frozen=True, slots=True)
class Text:
    """Help text of a code. ``means``: what happened, and what did not. ``met_by``: who sees the code, and where."""

    means: str
    met_by: str
    steps: tuple[Step, ...]
