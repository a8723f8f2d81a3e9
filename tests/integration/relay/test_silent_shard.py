"""A relay over two Redis, of which one is silent: its tenant's requests leave room, and the other tenant signs."""

from __future__ import annotations

import asyncio

import pytest

from queueing import SigningClient
from tests.support.farm.farm import Farm, digests
from tests.support.redis.process import RedisProcess
from tests.support.relay.relay_process import RelayProcess
from tests.support.waiting import until


@pytest.fixture
def tables(own_redis: RedisProcess) -> str:
    """Four requests at once; the tenant ``globex`` has a Redis of its own."""
    return f'[limits]\nrequests = 4\n[tenants.globex.redis]\nunix_socket = "{own_redis.socket_path}"\n'


def time_of(tenant: str) -> bytes:
    return f"GET /v1/time?tenant={tenant} HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n".encode()


async def test_a_silent_redis_costs_its_own_tenant(
    farm: Farm, relay: RelayProcess, own_redis: RedisProcess
) -> None:
    """Two of the four requests wait for it, the next ones are told to come later, and the neighbour's digests are signed. When it answers, so does the relay."""
    assert b" 200 " in await relay.exchange(time_of("globex"))
    own_redis.pause()
    silent = [asyncio.create_task(relay.exchange(time_of("globex"))) for _ in range(4)]
    try:
        await asyncio.to_thread(two_are_shed, relay)
        assert b" 200 " in await relay.exchange(time_of("acme"))
        async with SigningClient(relay.client_config(farm.config), farm.key) as client:
            job = await client.submit("release", digests(8), timeout_s=60.0)
            assert len(await client.wait(job, timeout_s=60.0)) == 8
        assert relay.metric('sigmill_relay_shed_total{cause="requests"}') == 0
        own_redis.resume()
        while b" 200 " not in await relay.exchange(time_of("globex")):
            continue
    finally:
        for each in silent:
            each.cancel()
        await asyncio.gather(*silent, return_exceptions=True)


def two_are_shed(relay: RelayProcess) -> None:
    until(lambda: relay.metric('sigmill_relay_shed_total{cause="tenant_requests"}') == 2, "two are shed")
