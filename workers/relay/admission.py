"""Bounds on what the relay has in hand: requests, bodies, and clients that wait. Beyond them it sheds, and says when to come."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from queueing.aio.backoff import Randomness
from queueing.errors import QueueUnavailable
from workers.relay.shares import Shares

if TYPE_CHECKING:
    from workers.relay.settings import RelaySettings

JOBS_PER_CLIENT: Final = 40
"""Jobs that waiting clients may name, on average: some 250 bytes each."""

MOST_BODY_BYTES_IN_HAND: Final = 256 * 1024 * 1024
"""Bytes of bodies that were received and not processed yet, of all requests together."""

MOST_ANSWER_BYTES_IN_HAND: Final = 256 * 1024 * 1024
"""Bytes of answers that their clients have not read yet, of all requests together."""

_WAITING_TIMES: Final = 3
"""Share of waiting clients and of their jobs: to wait is what a client of a tenant in order does most of its time, a request is over in
milliseconds. So one tenant among several may have three quarters of these places, and half of the requests. Answers are as many."""

_LEAST_RETRY_S: Final = 1.0
_MOST_RETRY_S: Final = 5.0
"""Clients that are shed together come back spread over this time."""


class Shed(QueueUnavailable):
    """The relay has as much in hand as it may; come later."""

    def __init__(self, message: str, *, cause: str, tenant: str, retry_after_s: float) -> None:
        """``cause``: one of ``SHED_CAUSES``, for the metric. ``tenant``: the one whose share is used; '' for other causes."""
        super().__init__(message, retry_after_s=retry_after_s)
        self.cause = cause
        self.tenant = tenant


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
        self._randomness = randomness
        self._body_bytes = 0
        limits, redis_of = settings.limits, settings.redis_of()
        most = limits.waiting_clients
        self._requests = Shares(limits.requests, redis_of)
        self._waiting = Shares(most, redis_of, times=_WAITING_TIMES, own=settings.own_shares())
        self._jobs = Shares(most * JOBS_PER_CLIENT, redis_of, times=_WAITING_TIMES)
        self._answer_bytes = Shares(MOST_ANSWER_BYTES_IN_HAND, redis_of, times=_WAITING_TIMES)
        self.draining = False

    @property
    def requests(self) -> int:
        """Requests in hand that are no polls."""
        return self._requests.taken

    @property
    def waiting(self) -> int:
        """Clients that wait for results."""
        return self._waiting.taken

    @property
    def answer_bytes(self) -> int:
        """Bytes of long answers that their clients have not read yet."""
        return self._answer_bytes.taken

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
    def answer(self, tenant: str, size_bytes: int) -> Iterator[None]:
        """Within the block an answer to a client of the tenant is in memory. Raises ``Shed``."""
        if not (self._answer_bytes.are_free(size_bytes) and self._answer_bytes.may_take(tenant, size_bytes)):
            raise self._shed(
                "the relay has too many answers in hand that are not read yet", "answers", tenant
            )
        with self._answer_bytes.held(tenant, size_bytes):
            yield

    def check_request(self) -> None:
        """Raise ``Shed`` where the relay takes no further request, of whichever tenant."""
        self._check_draining()
        if not self._requests.are_free():
            raise self._shed("the relay has too many requests in hand", "requests")

    @contextlib.contextmanager
    def request(self, tenant: str) -> Iterator[None]:
        """Within the block the relay has one request of the tenant more in hand. Raises ``Shed``."""
        self.check_request()
        if not self._requests.may_take(tenant):
            raise self._shed(
                "the relay has too many requests of this tenant in hand, or of others of its Redis",
                "tenant_requests",
                tenant,
            )
        with self._requests.held(tenant):
            yield

    def check_client(self, jobs: int = 1) -> None:
        """Raise ``Shed`` where no further client may wait, of whichever tenant, for so many jobs."""
        self._check_draining()
        if not (self._waiting.are_free() and self._jobs.are_free(jobs)):
            raise self._shed("too many clients wait at the relay", "waiting")

    def check_client_of(self, tenant: str, jobs: int = 1) -> None:
        """Raise ``Shed`` where no further client of the tenant may wait, for so many jobs."""
        self.check_client(jobs)
        if not (self._waiting.may_take(tenant) and self._jobs.may_take(tenant, jobs)):
            raise self._shed(
                "too many clients of this tenant wait at the relay, or of others of its Redis",
                "tenant",
                tenant,
            )

    @contextlib.contextmanager
    def waiting_client(self, tenant: str, jobs: int) -> Iterator[None]:
        """Within the block one client more of the tenant waits, for so many jobs. Raises ``Shed``."""
        self.check_client_of(tenant, jobs)
        with self._waiting.held(tenant), self._jobs.held(tenant, jobs):
            yield

    def _check_draining(self) -> None:
        if self.draining:
            raise self._shed("the relay is being stopped", "draining")

    def _shed(self, message: str, cause: str, tenant: str = "") -> Shed:
        spread_s = (_MOST_RETRY_S - _LEAST_RETRY_S) * self._randomness.random()
        return Shed(message, cause=cause, tenant=tenant, retry_after_s=_LEAST_RETRY_S + spread_s)
