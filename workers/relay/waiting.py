"""Clients that wait for results, by job. Results are handed to those who wait, and not kept: Redis has them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

MOST_ANSWER_BYTES: Final = 1024 * 1024
"""Results of one answer: at least one, and no further one once they have so many bytes. The client asks for the rest again."""


class WaitingClient:
    """One poll: the jobs that it names, and what was found of them."""

    __slots__ = ("_bytes", "checked", "found", "job_ids", "since_s", "some", "unknown")

    def __init__(self, job_ids: Iterable[str], since_s: float) -> None:
        self.job_ids = frozenset(job_ids)
        self.since_s = since_s
        self.checked = False
        self.found: dict[str, bytes] = {}
        self.unknown: set[str] = set()
        self.some = asyncio.Event()
        """Set when there is something to answer."""
        self._bytes = 0

    def add(self, job_id: str, result: bytes) -> None:
        """Take a result, unless the answer is full."""
        if job_id in self.found or (self.found and self._bytes + len(result) > MOST_ANSWER_BYTES):
            return
        self.found[job_id] = result
        self._bytes += len(result)
        self.some.set()

    def lacks(self, job_ids: Iterable[str]) -> None:
        """Note jobs that the queue does not have."""
        self.unknown.update(job_ids)
        if self.unknown:
            self.some.set()

    @property
    def complete(self) -> bool:
        """Whether everything that it names was found, or is not there."""
        return len(self.found) + len(self.unknown) >= len(self.job_ids)


class WaitingClients:
    """Waiting clients of one tenant. ``some`` is set while there are any."""

    def __init__(self) -> None:
        self.some = asyncio.Event()
        self._by_job: dict[str, list[WaitingClient]] = {}
        self._all: dict[WaitingClient, None] = {}

    def __len__(self) -> int:
        return len(self._all)

    def jobs(self) -> list[str]:
        """Jobs that are waited for."""
        return list(self._by_job)

    def unchecked(self, before_s: float) -> list[WaitingClient]:
        """Clients that have waited since before this time, and whose jobs were not looked up."""
        return [client for client in self._all if not client.checked and client.since_s <= before_s]

    @contextlib.contextmanager
    def waiting(self, job_ids: Iterable[str], now_s: float) -> Iterator[WaitingClient]:
        """Within the block one client waits."""
        client = WaitingClient(job_ids, now_s)
        for job_id in client.job_ids:
            self._by_job.setdefault(job_id, []).append(client)
        self._all[client] = None
        self.some.set()
        try:
            yield client
        finally:
            del self._all[client]
            for job_id in client.job_ids:
                left = self._by_job[job_id]
                left.remove(client)
                if not left:
                    del self._by_job[job_id]
            if not self._all:
                self.some.clear()

    def wanted(self, job_ids: Iterable[str]) -> list[str]:
        """Jobs among these for which a client waits."""
        return [job_id for job_id in job_ids if job_id in self._by_job]

    def hand_over(self, results: Mapping[str, bytes]) -> None:
        """Hand results to the clients that wait for them."""
        for job_id, result in results.items():
            for client in self._by_job.get(job_id, ()):
                client.add(job_id, result)

    def release(self) -> None:
        """Have every client answered now, with what there is."""
        for client in self._all:
            client.some.set()


def groups_of(clients: Iterable[WaitingClient], most_jobs: int) -> Iterator[list[WaitingClient]]:
    """Groups of clients that name at most so many jobs together, or of one client that names more."""
    group: list[WaitingClient] = []
    jobs: set[str] = set()
    for client in clients:
        if group and len(jobs) + len(client.job_ids - jobs) > most_jobs:
            yield group
            group, jobs = [], set()
        group.append(client)
        jobs |= client.job_ids
    if group:
        yield group


def parts_by_size(job_ids: Iterable[str], sizes: Mapping[str, int], most_bytes: int) -> Iterator[list[str]]:
    """The jobs in parts whose results have at most so many bytes together, or of one job whose result has more."""
    part: list[str] = []
    size_bytes = 0
    for job_id in job_ids:
        if part and size_bytes + sizes[job_id] > most_bytes:
            yield part
            part, size_bytes = [], 0
        part.append(job_id)
        size_bytes += sizes[job_id]
    if part:
        yield part
