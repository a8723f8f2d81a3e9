"""Failures of signatures that a tool asked for: their reasons do not fit into the return value that the tool gets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from queueing.agent.cryptoki import Rv
from queueing.errors import DigestLength, SigningError

MAX_KINDS: Final = 100
"""Different failures that are kept; a build with more has been told enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A signature that was not made. ``key`` is empty where it failed before a key was chosen."""

    key: str
    error: SigningError


class FailureSink(Protocol):
    """Receiver of failures."""

    def add(self, failure: Failure) -> None:
        """Take note of one failure."""


class FailureLog:
    """Failures of one run, equal ones counted together."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str, str], int] = {}
        self._first: dict[tuple[str, str, str], Failure] = {}

    def add(self, failure: Failure) -> None:
        """Count a failure; beyond ``MAX_KINDS`` different ones it is dropped."""
        kind = (failure.key, failure.error.reason, failure.error.message)
        if kind not in self._first:
            if len(self._first) >= MAX_KINDS:
                return
            self._first[kind] = failure
        self._counts[kind] = self._counts.get(kind, 0) + 1

    def counted(self) -> list[tuple[Failure, int]]:
        """Different failures in the order of their first occurrence, and how often each occurred."""
        return [(failure, self._counts[kind]) for kind, failure in self._first.items()]


def return_value(error: SigningError) -> Rv:
    """Return value that comes closest to an error; the reason itself is told beside it."""
    if error.denied:
        return Rv.FUNCTION_REJECTED
    if isinstance(error, DigestLength):
        return Rv.DATA_LEN_RANGE
    return Rv.DEVICE_ERROR if error.retryable else Rv.DATA_INVALID
