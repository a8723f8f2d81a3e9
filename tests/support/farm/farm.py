"""A build farm's side and the other side of it, for tests of the client."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from arq.connections import ArqRedis
from msgspec.structs import replace

from queueing import ClientConfig, ClientKey, SigningClient
from queueing.config.redis import RedisConfig
from queueing.protocol import keyspace
from queueing.redis.connection import connect
from tests.support.farm.responder import Responder
from workers.cli.clients.create import toml_text


@dataclass(slots=True, kw_only=True)
class Farm:
    """``responder`` signs for the tenant; ``client()`` makes clients of it."""

    responder: Responder
    config: ClientConfig
    key: ClientKey
    redis: ArqRedis
    folder: Path

    def client(self, **changes: object) -> SigningClient:
        """A client with these settings changed."""
        return SigningClient(replace(self.config, **changes), self.key)

    @contextlib.asynccontextmanager
    async def served_by(self, redis: RedisConfig) -> AsyncIterator[None]:
        """Have the tenant served by another Redis, which the test may stop.

        In the end the responder is paused before its pool is closed: a claim on a closed pool makes a new connection.
        """
        pool = connect(redis)
        self.responder.move_to(pool)
        try:
            await self.responder.publish()
            yield
        finally:
            await self.responder.pause()
            await pool.aclose()

    async def queued(self) -> None:
        """Return once the queue has a job; wrap it in a timeout."""
        while not await self.redis.zcard(keyspace.queue(self.config.tenant)):  # noqa: ASYNC110  # no such event
            await asyncio.sleep(0.001)

    def client_toml(self) -> Path:
        """The configuration as a file, for the command line."""
        path = self.folder / "client.toml"
        table = {
            "audience": self.config.audience,
            "tenant": self.config.tenant,
            "client": self.config.client,
            "private_key_file": self.config.private_key_file,
            "service_public_keys": self.config.service_public_keys,
            "redis": {"unix_socket": self.config.redis_settings().unix_socket},
        }
        path.write_text(toml_text(table))
        return path


def digests(count: int, *, salt: str = "") -> list[bytes]:
    """SHA-256 digests, all different, the same in each run."""
    return [hashlib.sha256(f"{salt}{i}".encode()).digest() for i in range(count)]
