"""A resolver that does not answer for the name of one tenant's Redis."""

from __future__ import annotations

import asyncio
from pathlib import Path

from bench.native.build import SHARED_FLAGS, compile_sources
from tests.support.farm.farm import Farm
from tests.support.redis.process import RedisProcess
from tests.support.relay.relay_process import RelayProcess
from tests.support.waiting import until_async

SOURCE = Path(__file__).parents[2] / "native" / "silent_resolver.c"


def time_of(tenant: str) -> bytes:
    return f"GET /v1/time?tenant={tenant} HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n".encode()


async def test_look_ups_that_hang_hold_up_no_other_tenant(
    farm: Farm, redis_server: RedisProcess, tmp_path: Path
) -> None:
    """A look-up cannot be ended. It has a thread of its own: of those of libuv only one would look up names here."""
    del farm  # it has published the directory
    library = compile_sources("silent_resolver.so", [SOURCE], SHARED_FLAGS)
    asked = tmp_path / "asked"
    relay = RelayProcess(
        folder=tmp_path / "relay",
        audience="test/eu",
        redis=f'host = "localhost"\nport = {redis_server.port}',
        tables='[tenants.globex.redis]\nhost = "redis.silent"',
        environment={
            "LD_PRELOAD": str(library),
            "SILENT_RESOLVER_ASKED": str(asked),
            "UV_THREADPOOL_SIZE": "2",
        },
    )
    relay.start()
    away = asyncio.create_task(relay.exchange(time_of("globex")))
    try:
        await until_async(asked.exists, "the name of globex' Redis is looked up")
        assert (await relay.exchange(time_of("acme"))).startswith(b"HTTP/1.1 200")
        assert not away.done()
    finally:
        relay.kill()
        await away
