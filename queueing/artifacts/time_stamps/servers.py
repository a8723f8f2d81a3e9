"""Time-stamp servers: asked in order, paced, tried again, and rested when they fail.

A server that fails several times in a row is left for some seconds, and for the rest of the run when it has not answered for
minutes: one dead server slows no file down for long, and the next one is asked at once.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from queueing.artifacts.time_stamps.tokens import TimeStamp, TimeStampInvalid, TimeStampRequest
from queueing.errors import TimeStampUnavailable

REQUESTS_AT_ONCE: Final = 4
"""Requests to one server; authorities refuse clients that send more."""

_FAILURES_IN_A_ROW: Final = 5
_REST_S: Final = 10.0
_GIVEN_UP_AFTER_S: Final = 120.0
_FIRST_PAUSE_S: Final = 0.5
_MOST_PAUSE_S: Final = 8.0


class Transport(Protocol):
    """Way of a request to a server."""

    async def post(self, url: str, body: bytes) -> bytes:
        """The answer's body. Raises ``TransportFailed``."""


class TransportFailed(Exception):
    """No answer; the message says why."""


class Clock(Protocol):
    """Time, and waiting."""

    def now_s(self) -> float:
        """Monotonic time."""

    async def sleep(self, seconds: float) -> None:
        """Return after that time."""


class LoopClock:
    """The event loop's clock."""

    def now_s(self) -> float:
        """Monotonic time."""
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        """Return after that time."""
        await asyncio.sleep(seconds)


@dataclass(slots=True, kw_only=True)
class _Server:
    url: str
    slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(REQUESTS_AT_ONCE))
    next_at_s: float = 0.0
    failures: int = 0
    rests_until_s: float = 0.0
    failing_since_s: float | None = None
    reason: str = ""

    def given_up(self, now_s: float) -> bool:
        """Whether it has failed for so long that the run does without it."""
        since = self.failing_since_s
        return self.failures >= _FAILURES_IN_A_ROW and since is not None and now_s - since > _GIVEN_UP_AFTER_S

    def left_out(self, now_s: float) -> bool:
        """Whether it rests, or is given up."""
        return self.rests_until_s > now_s or self.given_up(now_s)

    def succeeded(self) -> None:
        self.failures, self.failing_since_s = 0, None

    def failed(self, now_s: float, reason: str) -> None:
        self.failures += 1
        self.reason = reason
        self.failing_since_s = now_s if self.failing_since_s is None else self.failing_since_s
        if self.failures % _FAILURES_IN_A_ROW == 0:
            self.rests_until_s = now_s + _REST_S


class TimeStampServers:
    """Servers by their URLs, in the order in which they are asked. ``pause_s``: between two requests to one server."""

    def __init__(
        self,
        urls: Sequence[str],
        transport: Transport,
        *,
        pause_s: float = 0.0,
        deadline_s: float = 120.0,
        clock: Clock | None = None,
    ) -> None:
        self._servers = [_Server(url=url) for url in urls]
        self._transport = transport
        self._pause_s = pause_s
        self._deadline_s = deadline_s
        self._clock = clock or LoopClock()

    async def time_stamp(self, hash_name: str, signature: bytes) -> TimeStamp:
        """A verified time-stamp over a signature, within ``deadline_s``; raises ``TimeStampUnavailable`` (retryable)."""
        imprint = hashlib.new(hash_name, signature).digest()
        end_s, pause_s = self._clock.now_s() + self._deadline_s, _FIRST_PAUSE_S
        while True:
            for server in self._servers:
                if server.left_out(self._clock.now_s()):
                    continue
                stamp = await self._asked(server, hash_name, imprint)
                if stamp is not None:
                    return stamp
            now_s = self._clock.now_s()
            if now_s + pause_s > end_s or all(server.given_up(now_s) for server in self._servers):
                raise self._unavailable()
            await self._clock.sleep(pause_s)
            pause_s = min(2 * pause_s, _MOST_PAUSE_S)

    async def _asked(self, server: _Server, hash_name: str, imprint: bytes) -> TimeStamp | None:
        request = TimeStampRequest(hash_name=hash_name, imprint=imprint, nonce=secrets.randbits(63) | 1)
        async with server.slots:
            await self._paced(server)
            if server.left_out(self._clock.now_s()):  # it has failed while this file waited for its turn
                return None
            try:
                stamp = request.opened(await self._transport.post(server.url, request.encoded()))
            except (TransportFailed, TimeStampInvalid) as error:
                server.failed(self._clock.now_s(), str(error))
                return None
        server.succeeded()
        return stamp

    async def _paced(self, server: _Server) -> None:
        """Wait for the server's turn."""
        now_s = self._clock.now_s()
        turn_s = max(server.next_at_s, now_s)
        server.next_at_s = turn_s + self._pause_s
        if turn_s > now_s:
            await self._clock.sleep(turn_s - now_s)

    def _unavailable(self) -> TimeStampUnavailable:
        reasons = "; ".join(
            f"{server.url}: {server.reason or 'it is not tried now'}" for server in self._servers
        )
        return TimeStampUnavailable(f"no time-stamp: {reasons}")
