"""A PIN that a token refused is tried once: by no lane, no restart, until it or the operator changes."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import msgspec
import pytest
from arq.connections import ArqRedis
from msgspec.structs import replace
from redis.exceptions import NoPermissionError

from bench.hsm.simhsm import read_log, write_rules
from queueing import Signature, SigningClient
from queueing.protocol import keyspace
from queueing.protocol.algorithms import KeyKind
from queueing.redis.connection import connect
from tests.support.farm.farm import digests
from tests.support.rig.operator import make_user, sigmill
from tests.support.rig.rig import MakeRig, Rig, WorkerProcess
from tests.support.rig.shared_rig import behind_simhsm
from tests.support.waiting import PATIENCE_S, until_async
from workers.cli.signing.wait_reason import wait_reason
from workers.config.settings import PinLogin, TokenSettings
from workers.state.refused_pins import RefusedPins

REFUSED_TO_START = "PIN_REFUSED_BEFORE"


def own_pin_file(rig: Rig, pin: str) -> Path:
    """A PIN file of acme's that the test may change; the shelf's stays as it is."""
    file = rig.directory / "acme.pin"
    file.touch(mode=0o600)
    file.write_text(f"{pin}\n")
    behind = behind_simhsm(rig.directory)

    def wrap(settings: TokenSettings) -> TokenSettings:
        if settings.select.label == "acme":
            settings = msgspec.structs.replace(settings, login=PinLogin(pin_file=str(file)))
        return behind(settings)

    rig.wrap = wrap
    return file


async def refused(worker: WorkerProcess) -> None:
    await until_async(lambda: worker.metric("sigmill_token_circuit_open", token="acme") == 2, "it is refused")


async def test_a_refused_pin_is_tried_once_over_restarts(make_rig: MakeRig) -> None:
    """The device would accept it the second time, so no signature before the resume means no second try."""
    rig = make_rig()
    own_pin_file(rig, rig.tokens["acme"].pin)
    write_rules(rig.directory / "acme.faults", ["C_Login rv=0xa0 once"])  # CKR_PIN_INCORRECT
    async with rig.client() as client:
        first = rig.start_worker()
        job = await client.submit("release", digests(10))
        await refused(first)
        assert REFUSED_TO_START not in first.log()
        await asyncio.sleep(1.0)  # longer than a circuit is open: meanwhile it is not tried again
        assert first.child.stop(60) == 0
        second = rig.start_worker()
        await until_async(lambda: REFUSED_TO_START in second.log(), "it is not tried again")
        await refused(second)
        assert not read_log(rig.directory / "acme.simhsm.log")
        memory = RefusedPins(rig.state_dir())
        assert memory.is_marked("acme")
        stored = (rig.state_dir() / "refused-pins" / "acme").read_bytes()
        assert rig.tokens["acme"].pin.encode() not in stored
        assert sigmill("tokens", "resume", "acme", "--config", str(rig.config())).returncode == 0
        outcomes = await client.wait(job, timeout_s=60)
    assert [type(outcome) for outcome in outcomes] == [Signature] * 10


async def test_a_client_that_waits_is_told_that_a_token_refused_its_pin(make_rig: MakeRig) -> None:
    """As its tenant's Redis user, which may not read the workers, it reads the reason and may not write
    it.
    """
    rig = make_rig()
    own_pin_file(rig, rig.tokens["acme"].pin)
    write_rules(rig.directory / "acme.faults", ["C_Login rv=0xa0"])
    worker = rig.start_worker()
    user = make_user(rig, "--tenant", "acme")
    config = replace(rig.client_config("acme"), redis=user)
    async with SigningClient(config, rig.keys["acme"]) as client:
        waiting = asyncio.ensure_future(client.wait(await client.submit("release", digests(10))))
        await refused(worker)
        reason = ""
        async with asyncio.timeout(60):
            while "signs nothing" not in reason:
                await asyncio.sleep(0.1)
                reason = await wait_reason(client)
        waiting.cancel()
    assert "token acme refused its PIN (the operator has to act)" in reason
    redis = connect(user)
    with pytest.raises(NoPermissionError):
        await redis.set(keyspace.hindrance("acme"), b"")
    await redis.aclose()


async def test_a_pin_that_one_host_saw_refused_is_not_tried_by_another(make_rig: MakeRig) -> None:
    """Until the operator resumes the token; the device would accept it the second time."""
    rig = make_rig()
    own_pin_file(rig, rig.tokens["acme"].pin)
    write_rules(rig.directory / "acme.faults", ["C_Login rv=0xa0 once"])
    async with rig.client() as client:
        first = rig.start_worker(1)
        job = await client.submit("release", digests(10))
        await refused(first)
        redis = rig.connect()
        await until_field(redis, "acme")
        second = rig.start_worker(2)
        await refused(second)
        await until_async(lambda: REFUSED_TO_START in second.log(), "it says so")
        assert "CKR_PIN_INCORRECT" not in second.log()
        assert not read_log(rig.directory / "acme.simhsm.log")
        ran = sigmill("tokens", "resume", "acme", "--config", str(rig.config(1)))
        assert ran.returncode == 0, ran.stderr
        assert not await redis.exists(keyspace.REFUSED_PINS)
        await redis.aclose()
        outcomes = await client.wait(job, timeout_s=60)
        await until_async(
            lambda: second.metric("sigmill_token_circuit_open", token="acme") == 0,
            "the other one tries it, too",
        )
    assert [type(outcome) for outcome in outcomes] == [Signature] * 10


async def until_field(redis: ArqRedis, token: str) -> None:
    """The warning is in Redis."""
    async with asyncio.timeout(PATIENCE_S):
        while not await redis.hexists(keyspace.REFUSED_PINS, token):  # type: ignore[misc]  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_a_wrong_pin_is_replaced_in_its_file(make_rig: MakeRig) -> None:
    """The real module refuses it; when the file has the right one, the lane starts. The log has neither."""
    rig = make_rig()
    wrong = "925144890321"
    file = own_pin_file(rig, wrong)
    worker = rig.start_worker()
    async with rig.client() as client:
        job = await client.submit("release", digests(10))
        await refused(worker)
        assert worker.ready is False
        await until_async(lambda: "CKR_PIN_INCORRECT" in worker.log(), "the log has the token's answer")
        right = rig.tokens["acme"].pin
        file.write_text(f"{right}\n")
        outcomes = await client.wait(job, timeout_s=60)
    assert [type(outcome) for outcome in outcomes] == [Signature] * 10
    for pin in (wrong, right):
        assert pin not in worker.log()
    await until_async(
        lambda: worker.metric("sigmill_token_circuit_open", token="acme") == 0, "the circuit is closed"
    )


async def test_a_wrong_pin_of_one_tenant_stops_no_other_tenant(make_rig: MakeRig) -> None:
    """Another tenant's jobs are signed while the first one's PIN is refused."""
    rig = make_rig(tenants={"acme": KeyKind.P256, "globex": KeyKind.P256})
    own_pin_file(rig, "000000000000")
    worker = rig.start_worker()
    async with rig.client("acme") as unlucky, rig.client("globex") as client:
        await unlucky.submit("release", digests(10))
        await refused(worker)
        signature = await client.sign("release", os.urandom(32), timeout_s=60)
    assert signature.verified
    assert worker.ready


@pytest.mark.parametrize("mode", [0o644, None], ids=["open-to-others", "missing"])
async def test_a_pin_file_that_may_not_be_read_is_a_mistake_with_a_remedy(
    make_rig: MakeRig, mode: int | None
) -> None:
    """The log names the file, without a traceback, and a repaired file is enough."""
    rig = make_rig()
    pin = rig.tokens["acme"].pin
    file = own_pin_file(rig, pin)
    if mode is None:
        file.unlink()
    else:
        file.chmod(mode)
    worker = rig.start_worker()
    async with rig.client() as client:
        job = await client.submit("release", digests(10))
        await until_async(lambda: worker.events("lane.config") > 0, "the mistake is in the log")
        assert str(file) in worker.log()
        assert "Traceback" not in worker.log()
        file.touch(mode=0o600)
        file.write_text(f"{pin}\n")
        file.chmod(0o600)
        outcomes = await client.wait(job, timeout_s=60)
    assert [type(outcome) for outcome in outcomes] == [Signature] * 10
