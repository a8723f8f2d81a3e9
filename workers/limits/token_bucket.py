"""The worker's own limit on each tenant: a backstop that does not ask Redis. Pure: the clock is passed in."""

from __future__ import annotations

from typing import Final

SLACK: Final = 1.2
"""What one worker may claim above the tenant's whole rate and burst before it stops believing Redis."""


class TokenBucket:
    """A token bucket of ``SLACK`` times rate (units per second) and burst (units); full at the beginning.

    An honest claim script never comes here: it admits at most the burst and the rate, over all workers.
    """

    __slots__ = ("_at_s", "_burst", "_level", "_rate_per_s")

    def __init__(self, *, rate_per_s: float, burst: float, now_s: float) -> None:
        self._rate_per_s = rate_per_s * SLACK
        self._burst = burst * SLACK
        self._level = self._burst
        self._at_s = now_s

    def adjust(self, *, rate_per_s: float, burst: float) -> None:
        """The tenant's limits are these from now on."""
        self._rate_per_s = rate_per_s * SLACK
        self._burst = burst * SLACK
        self._level = min(self._level, self._burst)

    def admit(self, cost: float, now_s: float) -> bool:
        """Whether a job of this cost may be signed now; what is admitted is taken.

        A job larger than the burst needs a full bucket, and leaves it overdrawn.
        """
        self._level = min(self._level + (now_s - self._at_s) * self._rate_per_s, self._burst)
        self._at_s = now_s
        if self._level + 1e-6 < min(cost, self._burst):
            return False
        self._level -= cost
        return True

    def give_back(self, cost: float) -> None:
        """A job that was admitted was not signed."""
        self._level = min(self._level + cost, self._burst)
