"""Requests for receipts: jobs whose client asked for one, and whose outcome is in the log of its tenant."""

from __future__ import annotations

from collections import defaultdict, deque
from typing import TYPE_CHECKING, Final

import msgspec

from queueing.protocol.jobs import tenant_of_job_id
from queueing.unix_time import unix_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from workers.journal.records import OutcomeRecord

MOST_WAITING: Final = 20_000
"""Requests that wait for a certified checkpoint: half a minute of 600 jobs a second that all ask, 10 MB."""

MOST_AGE_MS: Final = 24 * 3600 * 1000
"""A request of an older job is none: a sealer that reads a long log again makes no receipts of it."""


class ReceiptRequest(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """Request for a receipt of the job ``job_id``, whose outcome is entry ``index``; ``salt``: of its items.

    ``released``: the outcome was released, as far as this host knows. ``at_ms``: time of the outcome.
    """

    tenant: str
    job_id: str
    index: int
    at_ms: int
    salt: bytes
    entry: bytes
    released: bool = False


def receipt_request(
    record: OutcomeRecord, tenant: str, salt: bytes, index: int, entry: bytes
) -> ReceiptRequest | None:
    """Request for a receipt of outcome ``index``, whose worker said that one follows; only for a job id of the tenant's own."""
    job_id = record.job_id.decode("utf-8", "replace")
    if tenant_of_job_id(job_id) != tenant:
        return None
    return ReceiptRequest(
        tenant=tenant, job_id=job_id, index=index, at_ms=record.at_ms, salt=salt, entry=entry
    )


class ReceiptRequests:
    """Requests that wait for their receipts, the oldest first; ``dropped`` counts those for which there was no room."""

    def __init__(
        self, requests: Iterable[ReceiptRequest] = (), *, now_ms: Callable[[], int] = unix_ms
    ) -> None:
        self._waiting = deque(requests)
        self._now_ms = now_ms
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, request: ReceiptRequest) -> None:
        """Add a request; the oldest one goes where there are too many."""
        if self._now_ms() - request.at_ms > MOST_AGE_MS:
            return
        self._waiting.append(request)
        if len(self._waiting) > MOST_WAITING:
            self._waiting.popleft()
            self.dropped += 1

    def by_tenant(self) -> Mapping[str, Sequence[ReceiptRequest]]:
        """Waiting requests, by tenant."""
        found: defaultdict[str, list[ReceiptRequest]] = defaultdict(list)
        for request in self._waiting:
            found[request.tenant].append(request)
        return found

    def remove(self, done: Iterable[ReceiptRequest]) -> None:
        """Forget requests that have their receipt, or get none. O(all that wait)."""
        gone = {id(request) for request in done}
        self._waiting = deque(request for request in self._waiting if id(request) not in gone)

    def kept(self) -> list[ReceiptRequest]:
        """All that wait, for a next process."""
        return list(self._waiting)
