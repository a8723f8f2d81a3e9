"""Latency percentiles by a log-linear histogram: every value counted, three significant digits, no sampling.

The buckets are those of HdrHistogram: exact up to 2,048 us, then 1,024 to each power of two, so a bucket is
at most 0.1 % of its value wide. A percentile is the upper end of its bucket: never flattering.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Final

import msgspec

LOWEST_US: Final = 1
HIGHEST_US: Final = 3600 * 10**6  # an hour: a job that waited longer is counted as an hour
EXACT_BITS: Final = 11  # values below 2^11 have a bucket each: more than three significant digits


class Percentiles(msgspec.Struct, frozen=True, kw_only=True):
    """Percentiles of a latency distribution, in milliseconds. All 0 where ``count`` is 0."""

    count: int
    mean_ms: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float


class LatencyRecorder:
    """Latencies in seconds in, percentiles out. Recording costs less than 1 us. Not safe for threads."""

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()
        self._sum_us = 0
        self._max_us = 0

    def record(self, latency_s: float) -> None:
        """Count one latency; raises ``ValueError`` for a negative one."""
        if latency_s < 0:
            raise ValueError("a latency is not negative: the clocks disagree")
        microseconds = min(max(round(latency_s * 1e6), LOWEST_US), HIGHEST_US)
        self._buckets[_bucket_end(microseconds)] += 1
        self._sum_us += microseconds
        self._max_us = max(self._max_us, microseconds)

    def add(self, other: LatencyRecorder) -> None:
        """Count all that another recorder counted."""
        self._buckets += other._buckets
        self._sum_us += other._sum_us
        self._max_us = max(self._max_us, other._max_us)

    @property
    def count(self) -> int:
        """Number of recorded latencies."""
        return self._buckets.total()

    def percentiles(self) -> Percentiles:
        """The distribution so far."""
        return Percentiles(
            count=self.count,
            mean_ms=self._sum_us / max(1, self.count) / 1e3,
            p50_ms=self._at(50.0),
            p90_ms=self._at(90.0),
            p99_ms=self._at(99.0),
            p999_ms=self._at(99.9),
            max_ms=self._max_us / 1e3,
        )

    def _at(self, percentile: float) -> float:
        """The least value that ``percentile`` of all do not exceed."""
        left = math.ceil(self.count * percentile / 100.0 - 1e-9)
        for end_us, count in sorted(self._buckets.items()):
            left -= count
            if left <= 0:
                return min(end_us, self._max_us) / 1e3
        return 0.0


def _bucket_end(microseconds: int) -> int:
    """The largest value of the bucket."""
    shift = max(0, microseconds.bit_length() - EXACT_BITS)
    return ((microseconds >> shift) + 1 << shift) - 1
