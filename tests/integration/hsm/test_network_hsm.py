"""A token at the other end of a network that is slow, silent or cut: signing waits, and resumes when it is
back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from queueing import Signature
from queueing.protocol.algorithms import KeyKind
from tests.integration.hsm.other_modules import OtherModule, p11_kit_server, pkcs11_proxy
from tests.support.farm.farm import digests
from tests.support.hsm.relay import Relay
from tests.support.hsm.tokens import Token, new_token
from tests.support.ports import free_port
from tests.support.rig.rig import MakeRig, Rig, WorkerProcess
from tests.support.waiting import until_async
from workers.config.settings import TokenSettings

pytestmark = pytest.mark.other_modules

CALL_TIMEOUT_S = 2.0
Served = AbstractContextManager[tuple[OtherModule, Relay]]
Serve = Callable[[OtherModule, Path], Served]


@contextmanager
def by_p11_kit(served: OtherModule, folder: Path) -> Iterator[tuple[OtherModule, Relay]]:
    with (
        p11_kit_server(served, folder / "server") as module,
        Relay(folder / "relay", folder / "server") as relay,
    ):
        environment = {"P11_KIT_SERVER_ADDRESS": f"unix:path={folder / 'relay'}"}
        yield replace(module, environment=environment), relay


@contextmanager
def by_pkcs11_proxy(served: OtherModule, folder: Path) -> Iterator[tuple[OtherModule, Relay]]:
    server, near = free_port(), free_port()
    with pkcs11_proxy(served, server) as module, Relay(near, server) as relay:
        yield replace(module, environment={"PKCS11_PROXY_SOCKET": f"tcp://127.0.0.1:{near}"}), relay


def rig_behind(make_rig: MakeRig, module: OtherModule, token: Token) -> Rig:
    """A rig whose tenant's token is behind this module, with two clients of it."""
    rig = make_rig(tokens={"acme": token}, token={"acme": f"lanes = 2\ncall_timeout_s = {CALL_TIMEOUT_S}"})

    def wrap(settings: TokenSettings) -> TokenSettings:
        if settings.environment != token.settings.environment:
            return settings
        return msgspec.structs.replace(
            settings, module=str(module.path), environment=dict(module.environment)
        )

    rig.wrap = wrap
    return rig


async def sign(rig: Rig, count: int, salt: str) -> None:
    """Every digest has its signature."""
    async with rig.client() as client:
        outcomes = [o async for o in client.sign_many("release", digests(count, salt=salt), timeout_s=60)]
    assert [type(outcome) for outcome in outcomes] == [Signature] * count


async def signs_when_it_is_back(rig: Rig, worker: WorkerProcess, relay: Relay, salt: str) -> None:
    """Lanes are lost meanwhile, no job is."""
    work = asyncio.create_task(sign(rig, 40, salt))
    lost = worker.metric("sigmill_lane_restarts_total", token="acme")
    await until_async(
        lambda: worker.metric("sigmill_lane_restarts_total", token="acme") > lost, "a lane is lost"
    )
    assert not work.done()
    relay.restore()
    await work


@pytest.mark.parametrize("serve", [by_p11_kit, by_pkcs11_proxy])
async def test_a_network_that_is_slow_silent_or_cut_costs_time_and_no_job(
    make_rig: MakeRig, tmp_path: Path, serve: Serve
) -> None:
    token = new_token(tmp_path / "hsm", "acme", {"acme.release.v1": KeyKind.P256})
    served = OtherModule(
        path=Path(token.settings.module),
        token="acme",
        pin=token.pin,
        environment=token.settings.environment,
    )
    with serve(served, tmp_path) as (module, relay):
        rig = rig_behind(make_rig, module, token)
        worker = rig.start_worker()
        await sign(rig, 40, "at once")
        relay.delay_s = 0.01
        await sign(rig, 20, "slow")
        relay.delay_s = 0.0
        assert worker.metric("sigmill_lane_restarts_total", token="acme") == 0
        relay.silence()
        await signs_when_it_is_back(rig, worker, relay, "silent")
        relay.cut()
        await signs_when_it_is_back(rig, worker, relay, "cut")
    assert worker.metric("sigmill_jobs_total", outcome="job.poisoned") == 0
