"""What is written about a code."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """Something to do; ``command`` is what to type for it, with CAPITALS for what the reader knows."""

    text: str
    command: str = ""


@dataclass(frozen=True, slots=True)
class Text:
    """``means``: what happened, and what did not. ``met_by``: who sees the code, and where."""

    means: str
    met_by: str
    steps: tuple[Step, ...]
