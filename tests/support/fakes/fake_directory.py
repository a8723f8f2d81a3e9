"""Key directory cache of a client over a Redis in memory, on a fake clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Self

from cryptography.hazmat.primitives.asymmetric import ec

from queueing.client.epoch_store import EpochStore
from queueing.client.key_directory_cache import KeyDirectoryCache
from queueing.client.service_clock import ServiceClock
from queueing.protocol.algorithms import DEFAULT_FOR_KEY
from queueing.protocol.key_directory import (
    KeyDirectory,
    KeyState,
    directory_digest,
    encode_directory,
    encode_signed,
)
from queueing.protocol.public_keys import PublicKey
from tests.support.fakes.queue_access import access_to
from tests.support.farm.responder import KeyRing
from tests.support.keys import sign_digest, spki_of

SERVICE = ec.generate_private_key(ec.SECP256R1())
SERVICE_PUBLIC = PublicKey.from_spki(spki_of(SERVICE))
REFRESH_S = 60.0
TTL_MS = 7 * 86_400_000


class DirectoryRedis:
    """The one key that the cache reads, with the time; None is not published, an exception is raised."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self.answer: bytes | Exception | None = None
        self.reads = 0
        self.held: asyncio.Event | None = None
        """Set it, and an answer waits for the event."""
        self.time_refused: Exception | None = None
        self._now_ms = now_ms

    def pipeline(self, *, transaction: bool) -> DirectoryPipeline:
        assert not transaction
        return DirectoryPipeline(self)

    async def read(self) -> tuple[bytes | Exception | None, tuple[int, int] | Exception]:
        self.reads += 1
        if self.held is not None:
            await self.held.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.time_refused is not None:
            return self.answer, self.time_refused
        now_ms = self._now_ms()
        return self.answer, (now_ms // 1000, now_ms % 1000 * 1000)


class DirectoryPipeline:
    """GET and TIME in one round trip."""

    def __init__(self, redis: DirectoryRedis) -> None:
        self._redis = redis
        self._asked: list[str] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    def get(self, _: str) -> None:
        self._asked.append("get")

    def time(self) -> None:
        self._asked.append("time")

    async def execute(
        self, *, raise_on_error: bool
    ) -> tuple[bytes | Exception | None, tuple[int, int] | Exception]:
        assert (self._asked, raise_on_error) == (["get", "time"], False)
        return await self._redis.read()


class DirectorySetup:
    """A cache on a fake clock, and the service that publishes for it."""

    def __init__(self) -> None:
        self.now_ms = 1_000_000_000
        self.ahead_ms = 0
        self.redis = DirectoryRedis(lambda: self.now_ms - self.ahead_ms)
        self.ring = KeyRing.p256()
        self.fingerprint = PublicKey.from_spki(spki_of(self.ring.versions[1])).sha256
        access = access_to(self.redis)
        self.clock = ServiceClock(access, ttl_ms=TTL_MS, now_ms=lambda: self.now_ms)
        self.cache = KeyDirectoryCache(
            access,
            audience="a",
            tenant="acme",
            pinned=[SERVICE_PUBLIC],
            epochs=EpochStore(None, audience="a", tenant="acme"),
            refresh_s=REFRESH_S,
            clock=self.clock,
        )
        self.epoch = 0
        self.publish("active")

    def publish(self, state: KeyState) -> None:
        """A directory of the next epoch in which version 1 has this state."""
        self.epoch += 1
        self.ring.states[1] = state
        body = encode_directory(
            KeyDirectory(
                audience="a",
                tenant="acme",
                epoch=self.epoch,
                issued_at_ms=self.now_ms,
                expires_at_ms=self.now_ms + TTL_MS,
                keys={"release": self.ring.entry()},
            )
        )
        algorithm = DEFAULT_FOR_KEY[SERVICE_PUBLIC.kind]
        signature = sign_digest(SERVICE, algorithm, directory_digest(body, algorithm))
        self.redis.answer = encode_signed(body, signature, SERVICE_PUBLIC.sha256)

    def pass_s(self, seconds: float) -> None:
        """Let time pass."""
        self.now_ms += int(seconds * 1000)

    async def look_up(self) -> PublicKey:
        """The public key of version 1, as a result or `verify` asks for it."""
        return await self.cache.public_key("release", 1, self.fingerprint)
