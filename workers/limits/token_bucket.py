"""Token bucket: the worker's own rate limit on each tenant, a backstop without Redis. Pure: the clock is passed in."""

from __future__ import annotations

from typing import Final

SLACK: Final = 1.2
"""One worker may sign this factor above the tenant's whole rate and burst before it distrusts Redis."""


class TokenBucket:
    """Bucket of ``SLACK`` times burst (units), refilled at ``SLACK`` times rate (units per second); full at first.

    An honest claim script never empties it: it grants at most the burst and the rate, over all workers.
    """

    __slots__ = ("_at_s", "_burst", "_level", "_rate_per_s")

    def __init__(self, *, rate_per_s: float, burst: float, now_s: float) -> None:
        self._rate_per_s = rate_per_s * SLACK
        self._burst = burst * SLACK
        self._level = self._burst
        self._at_s = now_s

    def adjust(self, *, rate_per_s: float, burst: float) -> None:
        """Change the limits; the level is kept, up to the new burst."""
        self._rate_per_s = rate_per_s * SLACK
        self._burst = burst * SLACK
        self._level = min(self._level, self._burst)

    def try_take(self, cost: float, now_s: float) -> bool:
        """Take ``cost`` units; False, and nothing taken, when there are not enough.

        A job larger than the burst needs a full bucket, and leaves it overdrawn.
        """
        self._level = min(self._level + (now_s - self._at_s) * self._rate_per_s, self._burst)
        self._at_s = now_s
        if self._level + 1e-6 < min(cost, self._burst):
            return False
        self._level -= cost
        return True

    def refund(self, cost: float) -> None:
        """Put back the cost of a job that was not signed."""
        self._level = min(self._level + cost, self._burst)
