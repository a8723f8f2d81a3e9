"""A resolver that does not answer for the name of one tenant's Redis."""

from __future__ import annotations

import asyncio
from pathlib import Path

from bench.native.build import SHARED_FLAGS, compile_sources
from tests.support.farm.farm import Farm
from tests.support.redis.process import RedisProcess
from tests.support.relay.relay_process import RelayProcess

SOURCE = Path(__file__).parents[2] / "native" / "silent_resolver.c"
TRIES = 8


def time_of(tenant: str) -> bytes:
    return f"GET /v1/time?tenant={tenant} HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n".encode()


async def test_look_ups_that_hang_hold_up_no_other_tenant(
    farm: Farm, redis_server: RedisProcess, tmp_path: Path
) -> None:
    """A look-up cannot be ended. All requests of the tenant wait for the same one, so that libuv's threads, of which two look up names
    here, are free for the name of the other tenant's Redis.
    """
    del farm  # it has published the directory
    library = compile_sources("silent_resolver.so", [SOURCE], SHARED_FLAGS)
    relay = RelayProcess(
        folder=tmp_path / "relay",
        audience="test/eu",
        redis=f'host = "localhost"\nport = {redis_server.port}',
        tables='[tenants.globex.redis]\nhost = "redis.silent"',
        environment={"LD_PRELOAD": str(library), "UV_THREADPOOL_SIZE": "4"},
    )
    relay.start()
    try:
        away = await asyncio.gather(*(relay.exchange(time_of("globex")) for _ in range(TRIES)))
        assert [answer[:12] for answer in away] == [b"HTTP/1.1 503"] * TRIES
        assert (await relay.exchange(time_of("acme"))).startswith(b"HTTP/1.1 200")
    finally:
        relay.kill()
