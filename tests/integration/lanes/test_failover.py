"""A key in two tokens: one becomes unavailable, no job fails, and the token is used again when it is back."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import time
from pathlib import Path

import msgspec
import pytest

from bench.hsm.simhsm import SimHsm, read_log, write_rules
from bench.native.build import build_simhsm
from queueing import Signature, SigningClient
from queueing.protocol.algorithms import KeyKind
from tests.support.farm.farm import digests
from tests.support.hsm.tokens import Token, new_token
from tests.support.rig.operator import edit
from tests.support.rig.rig import MakeRig, Rig, WorkerProcess
from tests.support.waiting import until_async
from workers.config.settings import PinLogin, TokenSettings

BACK_S = 20.0
"""A token that is back is used within this, also on a busy machine."""


class Group:
    """``acme``'s key in the tokens ``acme`` and ``acme-b``, each behind a simulated HSM of its own."""

    def __init__(self, rig: Rig, directory: Path) -> None:
        self.rig = rig
        self.directory = directory

    def place(self, token: str) -> Path:
        """Directory in which SoftHSM keeps the token."""
        return self.directory / token

    def faults(self, token: str, *rules: str) -> None:
        write_rules(self.rig.directory / f"{token}.faults", rules)

    def signed(self, token: str) -> int:
        """C_Sign calls of this token that went well."""
        return sum(not record.rv for record in read_log(self.rig.directory / f"{token}.simhsm.log"))

    def wrap(self, settings: TokenSettings) -> TokenSettings:
        """By the token's directory: the two have one label, for one is a copy of the other."""
        name = Path(settings.environment["SOFTHSM2_CONF"]).parent.name
        device = SimHsm(
            real_module=Path(settings.module),
            log=self.rig.directory / f"{name}.simhsm.log",
            faults_file=self.rig.directory / f"{name}.faults",
            sign_us=0 if name == "service" else 2_000,
        )
        environment = {**settings.environment, **device.environment()}
        return msgspec.structs.replace(settings, module=str(build_simhsm()), environment=environment)


def copy_of(token: Token, directory: Path) -> Token:
    """The same token in another place, as an HSM's backup restored into a second device."""
    login = token.settings.login
    assert isinstance(login, PinLogin)
    source = Path(login.pin_file).parent
    shutil.copytree(source, directory)
    config = directory / "softhsm2.conf"
    config.write_text(config.read_text().replace(str(source), str(directory)))
    settings = msgspec.structs.replace(
        token.settings,
        login=PinLogin(pin_file=str(directory / "pin")),
        environment={"SOFTHSM2_CONF": str(config)},
    )
    return Token(settings=settings, keys=token.keys)


@pytest.fixture
def group(make_rig: MakeRig, tmp_path: Path) -> Group:
    folder = tmp_path / "hsms"
    acme = new_token(folder, "acme", {"acme.release.v1": KeyKind.P256})
    rig = make_rig(token={"acme": "lanes = 1", "acme-b": "lanes = 1"}, tokens={"acme": acme})
    rig.tokens["acme-b"] = copy_of(acme, folder / "acme-b")
    made = Group(rig, folder)
    rig.wrap = made.wrap
    edit(rig.tenant_file("acme"), 'tokens = ["acme"]', 'tokens = ["acme", "acme-b"]')
    return made


class Build:
    """Clients that sign without a pause; every outcome has to be a signature."""

    def __init__(self, client: SigningClient) -> None:
        self._client = client
        self._stop = False
        self.signatures = 0

    async def run(self) -> None:
        number = 0
        while not self._stop:
            number += 1
            async for outcome in self._client.sign_many(
                "release", digests(600, salt=f"{number}"), timeout_s=60
            ):
                assert isinstance(outcome, Signature), outcome
                self.signatures += 1

    async def continues(self, signatures: int = 400) -> None:
        wanted = self.signatures + signatures
        await until_async(lambda: self.signatures >= wanted, "the build continues", within_s=40)

    def stop(self) -> None:
        self._stop = True


async def lose(group: Group, worker: WorkerProcess, how: str) -> None:
    """The first token goes away."""
    if how == "module error":
        group.faults("acme", "C_Sign rv=0x32")  # CKR_DEVICE_REMOVED
    elif how == "key gone":
        group.faults("acme", "C_Sign rv=0x82")  # CKR_OBJECT_HANDLE_INVALID: the process was logged out
    elif how == "hangs":
        group.faults("acme", "C_Sign hang")
    elif how == "renamed":
        group.place("acme").rename(group.place("away"))
    if how in {"renamed", "killed"}:
        for pid in worker.lanes().get("acme", []):  # it may have noticed already
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def bring_back(group: Group, how: str) -> None:
    if how == "renamed":
        group.place("away").rename(group.place("acme"))
    group.faults("acme")


@pytest.mark.parametrize("how", ["module error", "key gone", "hangs", "renamed", "killed"])
async def test_a_token_of_two_goes_away_and_comes_back(group: Group, how: str) -> None:
    """No digest fails while it is away; it signs again within ``BACK_S`` of its return."""
    group.rig.token = {name: f"{lines}\ncall_timeout_s = 1.0" for name, lines in group.rig.token.items()}
    worker = group.rig.start_worker()
    async with group.rig.client() as client, asyncio.TaskGroup() as tasks:
        build = Build(client)
        tasks.create_task(build.run())
        await until_async(lambda: min(map(group.signed, ("acme", "acme-b"))) > 100, "both sign")
        await lose(group, worker, how)
        await build.continues()
        bring_back(group, how)
        returned_at, before = time.monotonic(), group.signed("acme")
        await until_async(lambda: group.signed("acme") > before, "it is used again", within_s=2 * BACK_S)
        took_s = time.monotonic() - returned_at
        await build.continues()
        build.stop()
    assert took_s < BACK_S
    assert worker.metric("sigmill_failures_total") == 0
    assert worker.metric("sigmill_jobs_total", outcome="job.poisoned") == 0


async def test_the_load_is_spread_over_both(group: Group) -> None:
    """Each signs more than a fifth of the digests."""
    group.rig.start_worker()
    async with group.rig.client() as client:
        outcomes = [o async for o in client.sign_many("release", digests(2000), timeout_s=60)]
    assert [type(outcome) for outcome in outcomes] == [Signature] * 2000
    shares = [group.signed(token) for token in ("acme", "acme-b")]
    assert sum(shares) == 2000
    assert min(shares) > 400, shares


async def test_a_token_without_the_key_costs_no_job(group: Group) -> None:
    """The empty token signs nothing, and its digests are signed by the other one."""
    empty = new_token(group.directory / "empty", "acme", {})
    shutil.rmtree(group.place("acme") / "tokens")
    source = group.directory / "empty" / "acme"
    shutil.copytree(source / "tokens", group.place("acme") / "tokens")
    shutil.copy(source / "pin", group.place("acme") / "pin")
    assert empty.keys == {}
    worker = group.rig.start_worker()
    async with group.rig.client() as client:
        outcomes = [o async for o in client.sign_many("release", digests(500), timeout_s=60)]
    assert [type(outcome) for outcome in outcomes] == [Signature] * 500
    assert group.signed("acme") == 0
    assert worker.metric("sigmill_failures_total") == 0
