"""Bounds on what the relay has in hand: requests, bodies, and clients that wait. Beyond them it sheds, and says when to come."""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from queueing.aio.backoff import Randomness
from queueing.errors import QueueUnavailable

if TYPE_CHECKING:
    from workers.relay.settings import RelaySettings

JOBS_PER_CLIENT: Final = 40
"""Jobs that waiting clients may name, on average: some 250 bytes each."""

MOST_BODY_BYTES_IN_HAND: Final = 256 * 1024 * 1024
"""Bytes of bodies that were received and not processed yet, of all requests together."""

_LEAST_RETRY_S: Final = 1.0
_MOST_RETRY_S: Final = 5.0
"""Clients that are shed together come back spread over this time."""


class Shed(QueueUnavailable):
    """The relay has as much in hand as it may; come later."""

    def __init__(self, message: str, *, cause: str, retry_after_s: float) -> None:
        """``cause``: ``requests``, ``bodies``, ``waiting``, ``tenant`` or ``draining``, for the metric."""
        super().__init__(message, retry_after_s=retry_after_s)
        self.cause = cause


class Body:
    """Bytes of one body that is being received."""

    __slots__ = ("_admission", "raw")

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self.raw = bytearray()

    def add(self, part: bytes) -> None:
        """Take what has come. Raises ``Shed``."""
        self._admission.take_bytes(len(part))
        self.raw += part


class Admission:
    """Counts of what is in hand. ``randomness`` spreads the time after which shed clients come back."""

    def __init__(self, settings: RelaySettings, *, randomness: Randomness = random) -> None:
        self._settings = settings
        self._randomness = randomness
        self._body_bytes = 0
        self._waiting: Counter[str] = Counter()
        self._jobs = 0
        self.requests = 0
        """Requests in hand that are no polls."""
        self.draining = False

    @property
    def waiting(self) -> int:
        """Clients that wait for results."""
        return self._waiting.total()

    @contextlib.contextmanager
    def body(self) -> Iterator[Body]:
        """Within the block a body is in memory."""
        body = Body(self)
        try:
            yield body
        finally:
            self._body_bytes -= len(body.raw)

    def take_bytes(self, count: int) -> None:
        """Count bytes of a body. Raises ``Shed``."""
        if self._body_bytes + count > MOST_BODY_BYTES_IN_HAND:
            raise self._shed("the relay has too many bodies in hand", "bodies")
        self._body_bytes += count

    @contextlib.contextmanager
    def request(self) -> Iterator[None]:
        """Within the block the relay has one request more in hand. Raises ``Shed``."""
        if self.draining:
            raise self._shed("the relay is being stopped", "draining")
        if self.requests >= self._settings.limits.requests:
            raise self._shed("the relay has too many requests in hand", "requests")
        self.requests += 1
        try:
            yield
        finally:
            self.requests -= 1

    @contextlib.contextmanager
    def waiting_client(self, tenant: str, jobs: int) -> Iterator[None]:
        """Within the block one client more of the tenant waits, for so many jobs. Raises ``Shed``."""
        most = self._settings.limits.waiting_clients
        if self.draining:
            raise self._shed("the relay is being stopped", "draining")
        if self.waiting >= most or self._jobs + jobs > most * JOBS_PER_CLIENT:
            raise self._shed("too many clients wait at the relay", "waiting")
        if self._waiting[tenant] >= self._settings.share(tenant):
            raise self._shed("too many clients of this tenant wait at the relay", "tenant")
        self._waiting[tenant] += 1
        self._jobs += jobs
        try:
            yield
        finally:
            self._waiting[tenant] -= 1
            self._jobs -= jobs

    def _shed(self, message: str, cause: str) -> Shed:
        spread_s = (_MOST_RETRY_S - _LEAST_RETRY_S) * self._randomness.random()
        return Shed(message, cause=cause, retry_after_s=_LEAST_RETRY_S + spread_s)
