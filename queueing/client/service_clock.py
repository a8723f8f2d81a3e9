"""Clock of this host against the clock of Redis, which all hosts of the service share; the dates of envelopes follow from both."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from queueing.aio.events import wait_for
from queueing.errors import EnvelopeExpired, QueueUnavailable
from queueing.errors.durations import in_words

if TYPE_CHECKING:
    from queueing.client.delivery.queue_access import QueueAccess
    from queueing.errors import SigningError

_log = logging.getLogger("sigmill.client")

MEASURE_S: Final = 60.0
"""Time between two measurements: one TIME each."""

RETRY_S: Final = 5.0
FRESH_S: Final = 1.0
"""A measurement of this age explains an error; an older one is made again first."""

WAIT_S: Final = 1.0
"""Longest wait for a measurement. Without one, envelopes are dated by this host's clock."""

MOST_ERROR_MS: Final = 1000
"""A measurement of which more than this may be the round trip is none."""

TOLERATED_MS: Final = 5000
"""A difference up to this changes no date: lanes tolerate 60 s."""

WARNED_MS: Final = 30_000
"""A difference above this is reported: half of what lanes tolerate."""


class OpeningFetch(Protocol):
    """The part of ``queueing.client.key_directory_cache.KeyDirectoryCache`` that is needed here."""

    async def prefetch(self) -> None:
        """Fetch once; raises nothing."""


class ServiceClock:
    """Difference between this host's clock and Redis', measured with each key directory, every minute, and after an error of dates.

    Redis is not trusted with more than making work late, so its time only ever moves the dates of an envelope back: where
    this host's clock is ahead, by at most half of the envelope's time to live (ADR 0005).
    """

    def __init__(self, access: QueueAccess, *, ttl_ms: int, now_ms: Callable[[], int]) -> None:
        self._access = access
        self._most_back_ms = ttl_ms // 2
        self.now_ms = now_ms
        self._warned_ms = 0
        self._next_report_s = 0.0
        self._opened = asyncio.Event()
        self._wanted = asyncio.Event()
        self._next_try = asyncio.Event()
        self._measured_s: float | None = None
        self.ahead_ms = 0
        """Time by which this host is ahead of Redis; negative: behind. 0 before the first measurement."""

    async def run(self, directory: OpeningFetch) -> None:
        """Measure until cancelled, first with the key directory. Errors of Redis are left to the calls that need it."""
        try:
            await directory.prefetch()
            while True:
                self._wanted.clear()
                measured = self._is_fresh() or await self.measure()
                self._next_try.set()
                self._next_try = asyncio.Event()
                await wait_for(self._wanted, MEASURE_S if measured else RETRY_S)
        finally:
            self._opened.set()
            self._next_try.set()

    async def first_measured(self, deadline_s: float | None = None) -> None:
        """Wait for the first measurement: once in the life of a client, for ``WAIT_S`` at most."""
        if self._opened.is_set():
            return
        left_s = WAIT_S if deadline_s is None else deadline_s - asyncio.get_running_loop().time()
        await wait_for(self._opened, min(WAIT_S, max(left_s, 0.0)))
        self._opened.set()

    async def measured_lately(self) -> None:
        """Wait for a measurement that is not older than ``FRESH_S``, for ``WAIT_S`` at most."""
        if not self._is_fresh():
            self._wanted.set()
            await wait_for(self._next_try, WAIT_S)

    async def measure(self) -> bool:
        """Measure now, in one round trip; False where there was no answer in time."""
        sent_ms = self.now_ms()
        try:
            theirs_ms = await self._access.time_ms()
        except QueueUnavailable:
            return False
        return self.take(sent_ms, theirs_ms)

    def take(self, sent_ms: int, theirs_ms: int) -> bool:
        """Take a time of Redis that was just received; ``sent_ms``: when it was asked for. False where the answer took too long."""
        received_ms = self.now_ms()
        if not 0 <= received_ms - sent_ms <= 2 * MOST_ERROR_MS:
            return False
        self.ahead_ms = (sent_ms + received_ms) // 2 - theirs_ms
        self._measured_s = time.monotonic()
        self._opened.set()
        self._warn()
        return True

    def _is_fresh(self) -> bool:
        return self._measured_s is not None and time.monotonic() - self._measured_s <= FRESH_S

    def envelope_ms(self) -> int:
        """Date for an envelope that is made now (Unix ms)."""
        back_ms = self.ahead_ms if TOLERATED_MS < self.ahead_ms <= self._most_back_ms else 0
        return self.now_ms() - back_ms

    def has_passed(self, at_ms: int) -> bool:
        """Whether this time (Unix ms) has passed by Redis' clock, while it has not by this host's, which is behind."""
        return self.ahead_ms < -WARNED_MS and at_ms <= self.now_ms() - self.ahead_ms

    def difference(self) -> str:
        """The difference in words, or '' where it is small enough for every lane."""
        if abs(self.ahead_ms) <= WARNED_MS:
            return ""
        side = "ahead of" if self.ahead_ms > 0 else "behind"
        return f"this host's clock is {in_words(abs(self.ahead_ms) / 1000)} {side} Redis'"

    def explanation(self, error: SigningError) -> str:
        """The message of an error that a wrong clock may have caused, with the difference as it was measured last."""
        if self._measured_s is None:
            return error.message
        difference = self.difference() or (
            "this host's clock agrees with Redis', so that of the worker's host may be wrong"
        )
        return f"{error.message}; {difference}"

    @property
    def agrees(self) -> bool:
        """Whether the clocks were compared, and differ by too little to be refused."""
        return self._measured_s is not None and not self.difference()

    @property
    def is_ahead(self) -> bool:
        """Whether this host is ahead of Redis by more than is worth a report."""
        return self.ahead_ms > WARNED_MS

    def explained(self, error: SigningError) -> EnvelopeExpired:
        """The final error for dates that are refused, with the explanation."""
        return EnvelopeExpired(self.explanation(error))

    def expired_on_arrival(self) -> EnvelopeExpired:
        """The error of an envelope that had expired before the service could have it."""
        return EnvelopeExpired(f"the envelope had expired when the service got it; {self.difference()}")

    def report(self, error: SigningError) -> None:
        """Log an error that is retried, and that a wrong clock has caused: once in ``MEASURE_S``."""
        now_s = time.monotonic()
        if now_s >= self._next_report_s:
            self._next_report_s = now_s + MEASURE_S
            _log.warning("%s; it is sent again", self.explanation(error))

    def _warn(self) -> None:
        """Report a difference once, and again when it has changed by as much as is worth a report."""
        if abs(self.ahead_ms - self._warned_ms) <= WARNED_MS:
            return
        self._warned_ms = self.ahead_ms
        difference = self.difference()
        if difference:
            _log.warning("%s (by its TIME); set it, for example by `timedatectl set-ntp true`", difference)
