"""Shares of tenants, and of the subjects of each, in places of one kind: neither one takes all of them. Pure."""

from __future__ import annotations

from collections import Counter
from typing import Final, TypeVar

T = TypeVar("T")

Subject = tuple[str, str, str]
"""Tenant, then issuer or provider, and the subject that this one names."""

TIMES: Final = 3
"""A tenant has at most three times as many places as are free beside them, three quarters of all if it is alone; and a subject has as
many in the room of its tenant. The first place may be the last that is free.
"""


class SubjectShares:
    """Taken places, of ``whole``; more can be taken than there are, by those who do not ask."""

    def __init__(self, whole: int) -> None:
        self._whole = whole
        self._taken = 0
        self._of_tenant: Counter[str] = Counter()
        self._of_subject: Counter[Subject] = Counter()

    def may_take(self, subject: Subject) -> bool:
        """Whether the subject may have one place more."""
        free = self._whole - self._taken
        # With each place that the tenant takes one less is free.
        free_to_tenant = _divided(TIMES * free - self._of_tenant[subject[0]], TIMES + 1)
        return self._of_subject[subject] < TIMES * free_to_tenant

    def take(self, subject: Subject) -> None:
        """Note a place of the subject."""
        self._change(subject, 1)

    def give_back(self, subject: Subject) -> None:
        """Note one place less of the subject."""
        self._change(subject, -1)

    def _change(self, subject: Subject, by: int) -> None:
        self._taken += by
        _change(self._of_tenant, subject[0], by)
        _change(self._of_subject, subject, by)


def _divided(number: int, by: int) -> int:
    """The quotient, rounded up."""
    return -(-number // by)


def _change(counts: Counter[T], holder: T, by: int) -> None:
    """Change a count; one of 0 is not kept."""
    counts[holder] += by
    if not counts[holder]:
        del counts[holder]
