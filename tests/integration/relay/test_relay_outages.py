"""Relay and Redis are killed and started again by turns, under load: every digest has one outcome, and none is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.exceptions import NoPermissionError

from queueing import SigningClient
from queueing.protocol import keyspace
from queueing.redis.connection import connect
from tests.support.relay.relay_process import RelayProcess
from tests.support.rig.operator import make_user
from tests.support.rig.rig import MakeRig, Rig, WorkerProcess
from tests.support.rig.under_load import Load, under_load
from tests.support.waiting import until_async
from workers.dev.tenants import AUDIENCE


@pytest.fixture
def rig(make_rig: MakeRig) -> Rig:
    return make_rig(appendonly=True)


@pytest.fixture
def worker(rig: Rig) -> WorkerProcess:
    return rig.start_worker()


@pytest.fixture
def relay(rig: Rig, worker: WorkerProcess, tmp_path: Path) -> Iterator[RelayProcess]:
    """As the tenant's own Redis user, which an append-only Redis has forgotten after its restart: so by its password."""
    redis = f'unix_socket = "{rig.redis.socket_path}"\npassword_file = "{rig.place.password_file}"'
    made = RelayProcess(folder=tmp_path / "relay", audience=AUDIENCE, redis=redis)
    made.start()
    yield made
    made.kill()


async def more(load: Load) -> None:
    """Wait until further digests have an outcome."""
    before = len(load.outcomes)
    await until_async(lambda: len(load.outcomes) > before + 64, "digests are signed again")


async def test_every_digest_has_one_outcome(rig: Rig, worker: WorkerProcess, relay: RelayProcess) -> None:
    """The relay keeps nothing that it could lose; the client sends again what was not taken, under the same id."""
    client = SigningClient(relay.client_config(rig.client_config("acme")), rig.keys["acme"])
    async with under_load(rig, worker, client=client) as load:
        relay.kill()
        relay.start()
        await more(load)
        rig.redis.kill()
        rig.redis.start()
        await more(load)
        assert relay.stop() == 0
        relay.start()
        await more(load)
        relay.kill()
        rig.redis.kill()
        rig.redis.start()
        relay.start()
        await more(load)


async def test_the_tenants_own_redis_user_is_enough(
    rig: Rig, worker: WorkerProcess, relay: RelayProcess
) -> None:
    """The relay asks for nothing that this user may not do; and the user reaches no key of another tenant."""
    relay.stop()
    user = make_user(rig, "--tenant", "acme")
    rig.redis.command("ACL", "LOG", "RESET")
    relay.redis = f'unix_socket = "{user.unix_socket}"\nusername = "{user.username}"\npassword_file = "{user.password_file}"'
    relay.start()
    async with SigningClient(relay.client_config(rig.client_config("acme")), rig.keys["acme"]) as client:
        job = await client.submit("release", [bytes(32)], request_id="one")
        first = await client.wait(job, timeout_s=30.0)
        assert await client.wait(job.job_ids[0], timeout_s=30.0)
        assert await client.wait(job, timeout_s=30.0) == first
        await client.cancel(job.job_ids)
    assert relay.stop() == 0
    assert not [event for event in relay.events() if "failed" in event or "refuse" in event]
    assert rig.redis.command("ACL", "LOG") == b"*0"
    redis = connect(user)
    try:
        assert await redis.get(keyspace.directory("acme")) is not None
        with pytest.raises(NoPermissionError):
            await redis.get(keyspace.directory("globex"))
    finally:
        await redis.aclose()
