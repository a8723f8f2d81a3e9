"""A Redis pool for every test, and a tenant with a responder, a client key and a client.toml over a real Redis."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from arq.connections import ArqRedis

from queueing import ClientConfig, ClientKey
from queueing.config.redis import RedisConfig
from queueing.protocol.client_keys import ClientPublicKey
from queueing.redis.connection import connect
from tests.support.farm.farm import Farm
from tests.support.farm.responder import AUDIENCE, KeyRing, Responder
from tests.support.keys import spki_of
from tests.support.redis.process import RedisProcess


@pytest.fixture
async def redis(redis_server: RedisProcess) -> AsyncIterator[ArqRedis]:
    """A pool to the session's server, as our own factory makes it."""
    pool = connect(RedisConfig(unix_socket=str(redis_server.socket_path)))
    yield pool
    await pool.aclose()


@pytest.fixture
async def farm(redis: ArqRedis, redis_server: RedisProcess, tmp_path: Path) -> AsyncIterator[Farm]:
    """Tenant ``acme`` with the P-256 key ``release``; a responder serves it."""
    async with make_farm(redis, redis_server, tmp_path) as made:
        yield made


@contextlib.asynccontextmanager
async def make_farm(redis: ArqRedis, server: RedisProcess, folder: Path) -> AsyncIterator[Farm]:
    client_key = ClientKey.generate()
    identity = ClientPublicKey.from_spki(client_key.public_spki)
    responder = Responder(redis, "acme", {"release": KeyRing.p256()}, client_key=identity)
    await responder.publish()
    client_key.write(folder / "client.key")
    config = ClientConfig(
        audience=AUDIENCE,
        tenant="acme",
        client="ci",
        private_key_file=str(folder / "client.key"),
        service_public_keys=(base64.b64encode(spki_of(responder.service_key)).decode(),),
        redis=RedisConfig(unix_socket=str(server.socket_path)),
        state_file=str(folder / "client.state"),
    )
    serving = asyncio.create_task(responder.run())
    try:
        yield Farm(responder=responder, config=config, key=client_key, redis=redis, folder=folder)
    finally:
        while not serving.done():  # one cancel may be swallowed: see queueing.aio.owned_tasks
            serving.cancel()
            await asyncio.wait((serving,), timeout=0.05)
        if not serving.cancelled():
            serving.result()
