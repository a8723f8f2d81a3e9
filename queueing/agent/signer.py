"""Signatures for tools, which neither wait nor retry: the signer does both until its deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from queueing.agent.failures import Failure, FailureSink
from queueing.aio.backoff import Backoff, wait_after
from queueing.client.signatures import Signature
from queueing.errors import ConfigError, SigningError, Unavailable, WaitTimeout
from queueing.protocol.algorithms import Algorithm


class DigestSigner(Protocol):
    """The part of ``queueing.client.signing_client.SigningClient`` that signs."""

    async def sign(self, key: str, digest: bytes, algorithm: Algorithm, *, timeout_s: float) -> Signature:
        """Sign one digest; concurrent calls share envelopes."""


class PatientSigner:
    """Signer that retries what is retryable, until ``deadline_s`` after the call, and reports each failure."""

    def __init__(self, client: DigestSigner, failures: FailureSink, *, deadline_s: float) -> None:
        self._client = client
        self._failures = failures
        self._deadline_s = deadline_s
        self._waiting: dict[int, float] = {}
        self._count = 0

    @property
    def waiting(self) -> int:
        """Number of signatures that tools wait for."""
        return len(self._waiting)

    def longest_wait_s(self, now_s: float) -> float:
        """Time since which the oldest of them waits; ``now_s`` by the clock of the event loop."""
        return now_s - min(self._waiting.values(), default=now_s)

    async def sign(self, key: str, algorithm: Algorithm, digest: bytes) -> Signature:
        """One signature by ``KEY/VERSION``; raises the ``SigningError`` that is reported as a failure."""
        with self._noted():
            try:
                return await self._retrying(key, algorithm, digest)
            except SigningError as error:
                self.report(key, error)
                raise

    def report(self, key: str, error: SigningError) -> None:
        """Report a failure that was found before anything was sent."""
        self._failures.add(Failure(key=key, error=error))

    async def _retrying(self, key: str, algorithm: Algorithm, digest: bytes) -> Signature:
        loop = asyncio.get_running_loop()
        end_s, pauses = loop.time() + self._deadline_s, Backoff(first_s=0.5, most_s=10.0)
        while True:
            left_s = end_s - loop.time()
            try:
                return await self._client.sign(key, digest, algorithm, timeout_s=max(left_s, 0.0))
            except ConfigError as error:  # such as a login that Redis refuses by now
                raise Unavailable(str(error), hint=error.remedy) from error
            except SigningError as error:
                if not error.retryable or isinstance(error, WaitTimeout):
                    raise
                pause_s = pauses.next_s() if error.retry_after_s is None else wait_after(error)
                if loop.time() + pause_s >= end_s:
                    raise
            await asyncio.sleep(pause_s)

    @contextmanager
    def _noted(self) -> Iterator[None]:
        self._count += 1
        number = self._count
        self._waiting[number] = asyncio.get_running_loop().time()
        try:
            yield
        finally:
            del self._waiting[number]
