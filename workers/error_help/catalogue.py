"""Help pages of all codes, by code: those of ``queueing.errors`` and those of the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from queueing.errors import BY_REASON
from workers.error_help import denied, invalid, unavailable
from workers.error_help.commands import CODES

if TYPE_CHECKING:
    from queueing.errors import SigningError
    from workers.error_help.page_types import Step, Text

TEXTS: Final[dict[str, Text]] = {**denied.TEXTS, **invalid.TEXTS, **unavailable.TEXTS}
"""Texts by the reasons of ``queueing.errors``; a test checks that each reason has one."""


class ToDo(msgspec.Struct, frozen=True, kw_only=True):
    """Step of a solution; ``command`` may be empty."""

    text: str
    command: str


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """Help page of a code. ``exit_code``: of a command in which this is the most severe error."""

    code: str
    title: str
    retryable: bool
    denied: bool
    exit_code: int
    means: str
    met_by: str
    steps: tuple[ToDo, ...]


def _of_error(error: type[SigningError], text: Text) -> Page:
    return Page(
        code=error.reason,
        title=(error.__doc__ or "").splitlines()[0],
        retryable=error.retryable,
        denied=error.denied,
        exit_code=77 if error.denied else 75 if error.retryable else 1,
        means=text.means,
        met_by=text.met_by,
        steps=_steps(text.steps),
    )


def _steps(steps: tuple[Step, ...]) -> tuple[ToDo, ...]:
    return tuple(ToDo(text=step.text, command=step.command) for step in steps)


PAGES: Final[dict[str, Page]] = {
    **{code: _of_error(BY_REASON[code], text) for code, text in TEXTS.items()},
    **{
        code: Page(
            code=code,
            title=own.title,
            retryable=False,
            denied=False,
            exit_code=own.exit_code,
            means=own.text.means,
            met_by=own.text.met_by,
            steps=_steps(own.text.steps),
        )
        for code, own in CODES.items()
    },
}
