"""Lane registry: whether the worker can sign, idle tenants, and shared HSMs at a reload."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from tests.support.fakes.config_files import Site, p256_key, tenant_text
from tests.support.fakes.fake_lane import FakeHost, FakeJob, FakeLane
from tests.support.fakes.token_pools import GROUP, NoRecorder, NoStopOrders, RecordingCapacity
from tests.support.waiting import turn
from workers.config.loading import load_configuration
from workers.config.settings import SelectSettings
from workers.lanes.exit_codes import LaneExit
from workers.lanes.supervisor import process_group
from workers.lanes.supervisor.batching import Slice
from workers.lanes.supervisor.registry import LaneRegistry
from workers.state.drained_tokens import DrainedTokens
from workers.state.refused_pins import RefusedPins
from workers.state.token_claims import TokenProperties
from workers.telemetry.metrics import Metrics


@dataclass
class RegistrySetup:
    """A lane registry on a fake host, with the configuration that it reads."""

    registry: LaneRegistry
    host: FakeHost
    drained: DrainedTokens
    site: Site

    def healthy(self) -> bool:
        """A method, since mypy takes a property for unchanged after it was asserted."""
        return self.registry.healthy

    def drain(self, token: str) -> None:
        """Drain a token as an operator does, and have the registry read that."""
        self.drained.drain(token)
        self.registry.tick()

    def reload(self, *, tenants: Collection[str] | None = None) -> None:
        """The files are read again; of the tenants these are left."""
        for name in list(self.site.tenants if tenants is not None else ()):
            if name not in (tenants or ()):
                del self.site.tenants[name]
                self.site.tenant_file(name).unlink()
        self.registry.adopt(load_configuration(self.site.write().config))

    async def submit(self, tenant: str) -> FakeJob:
        """Work for the tenant, and the lane that is started for it is ready."""
        job, before = FakeJob(tenant), len(self.host.lanes)
        lanes = self.registry.of(tenant)[tenant]
        lanes.submit(Slice(job, GROUP, 0, 1))
        lanes.pump()
        await turn()
        for lane in self.host.lanes[before:]:
            lane.ready()
        await turn()
        return job

    async def use(self, tenant: str, *, away: bool = False) -> None:
        """Work for the tenant, whose token signs it, or is away."""
        lanes = self.registry.of(tenant)[tenant]
        lanes.submit(Slice(FakeJob(tenant), GROUP, 0, 1))
        lanes.pump()
        await turn()
        lane = self.host.lanes[-1]
        if away:
            lane.fail("CKR_TOKEN_NOT_PRESENT", LaneExit.CIRCUIT)
        else:
            lane.ready()
            await turn()
            lane.answer(lane.chunks[0])
        await turn()


class MakeRegistry(Protocol):
    """A context that makes a registry with these tenants; ``device``: operations of the HSM that their tokens share."""

    def __call__(self, *tenants: str, device: int = 0) -> AbstractAsyncContextManager[RegistrySetup]: ...


@pytest.fixture
def make_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeRegistry:
    """Makes a started registry on a fake host, and closes it at the end."""

    @asynccontextmanager
    async def make(*tenants: str, device: int = 0) -> AsyncIterator[RegistrySetup]:
        host, drained = FakeHost(), DrainedTokens(tmp_path)
        monkeypatch.setattr(process_group, "spawn_or_connect", host.spawn_or_connect)
        texts = {name: tenant_text(name, p256_key(i + 1)) for i, name in enumerate(tenants)}
        site = Site(tmp_path, tenants=texts)
        if device:
            site.service += f"\n[hsms.one]\nparallel_operations = {device}\n"
            for name in tenants:
                head = f"[tokens.{name}]\n"
                site.service = site.service.replace(head, f'{head}hsm = "one"\nlanes = 1\nsessions = 2\n')
        site.write()
        async with asyncio.TaskGroup() as tasks:
            registry = LaneRegistry(
                load_configuration(site.config),
                refused_pins=RefusedPins(tmp_path),
                drained=drained,
                metrics=Metrics(CollectorRegistry()),
                recorder=NoRecorder(),
                capacity_listener=RecordingCapacity(),
                stop_orders=NoStopOrders(),
            )
            registry.start(tasks)
            yield RegistrySetup(registry, host, drained, site)
            await registry.close(1.0)

    return make


async def test_a_worker_can_sign_before_any_lane_was_started(make_registry: MakeRegistry) -> None:
    """Lanes are started by the first job."""
    async with make_registry("acme", "globex") as setup:
        assert setup.healthy()


async def test_a_worker_cannot_sign_when_every_token_that_was_tried_is_in_doubt(
    make_registry: MakeRegistry,
) -> None:
    """No lane can sign for any tenant."""
    async with make_registry("acme", "globex") as setup:
        await setup.use("acme", away=True)
        await setup.use("globex", away=True)
        assert not setup.healthy()


async def test_the_failing_token_of_one_tenant_does_not_make_the_worker_unhealthy(
    make_registry: MakeRegistry,
) -> None:
    """The worker is healthy if the other tenant's token signs, or has had no work."""
    async with make_registry("acme", "globex") as setup:
        await setup.use("acme", away=True)
        assert setup.healthy()
        await setup.use("globex")
        assert setup.healthy()


async def test_the_failing_token_of_the_only_tenant_makes_the_worker_unhealthy(
    make_registry: MakeRegistry,
) -> None:
    """It can sign for no tenant."""
    async with make_registry("acme") as setup:
        await setup.use("acme", away=True)
        assert not setup.healthy()


SELECTED_BY_SLOT = {"acme": SelectSettings(slot=7), "globex": SelectSettings(serial="1234")}


async def started_lanes(
    setup: RegistrySetup, monkeypatch: pytest.MonkeyPatch, tokens: dict[str, TokenProperties]
) -> dict[str, FakeLane]:
    """A lane of each tenant that has one slice and found this token."""
    lanes = {}
    for tenant, token in tokens.items():
        pool = setup.registry.of(tenant)[tenant]
        settings = pool._processes.spec.settings
        monkeypatch.setattr(
            pool._processes,
            "spec",
            replace(
                pool._processes.spec,
                settings=msgspec.structs.replace(settings, select=SELECTED_BY_SLOT[tenant]),
            ),
        )
        pool.submit(Slice(FakeJob(tenant), GROUP, 0, 1))
        pool.pump()
        await turn()
        lanes[tenant] = setup.host.lanes[-1]
        lanes[tenant].ready(token=token)
        await turn()
    return lanes


async def test_a_token_under_two_names_serves_the_first_owner_only(
    make_registry: MakeRegistry, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lane of the second owner is ended before it has work; the log names both tables."""
    token = TokenProperties("m", "m", "1234", "shared", 7)
    async with make_registry("acme", "globex") as setup:
        lanes = await started_lanes(setup, monkeypatch, {"acme": token, "globex": token})
        assert (lanes["acme"].killed, lanes["globex"].killed) == (False, True)
        assert len(lanes["acme"].chunks) == 1
        assert lanes["globex"].chunks == []
        (record,) = [r for r in caplog.records if r.message == "token.shared"]
        assert (record.__dict__["token"], record.__dict__["other"]) == ("globex", "tokens.acme of acme")
        assert setup.registry.state().circuits_open == ("globex",)


async def test_tokens_without_serial_numbers_are_told_apart_by_their_slots(
    make_registry: MakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may have the same names."""
    async with make_registry("acme", "globex") as setup:
        monkeypatch.setitem(SELECTED_BY_SLOT, "globex", SelectSettings(label="card"))
        tokens = {t: TokenProperties("m", "m", "", "card", slot) for t, slot in (("acme", 7), ("globex", 8))}
        lanes = await started_lanes(setup, monkeypatch, tokens)
        assert [lane.killed for lane in lanes.values()] == [False, False]
    async with make_registry("acme", "globex") as setup:
        lanes = await started_lanes(setup, monkeypatch, dict.fromkeys(tokens, tokens["acme"]))
        assert [lane.killed for lane in lanes.values()] == [False, True]


async def test_a_lane_can_claim_no_token_that_its_table_does_not_select(
    make_registry: MakeRegistry, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host-started lane that lies is ended, and the lane of the token's owner is accepted after it."""
    mine = TokenProperties("m", "m", "1234", "globex", 8)
    async with make_registry("acme", "globex") as setup:
        lanes = await started_lanes(setup, monkeypatch, {"acme": mine, "globex": mine})
        assert (lanes["acme"].killed, lanes["globex"].killed) == (True, False)
        (record,) = [r for r in caplog.records if r.message == "token.not_selected"]
        assert record.__dict__["found"] == "slot 8, label 'globex', serial '1234'"


async def test_an_unreadable_list_of_drained_tokens_is_logged_once(
    make_registry: MakeRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """It is read twice a second; the drains that were read before stay in force."""
    async with make_registry() as setup:
        setup.drain("acme")
        folder = setup.site.folder / "drained-tokens"
        folder.rename(folder.with_name("elsewhere"))
        folder.write_text("")
        for _ in range(3):
            setup.registry.tick()
        assert [r.message for r in caplog.records].count("token.drains_unreadable") == 1
        assert setup.registry.state().drained == ("acme",)
        folder.unlink()
        setup.registry.tick()
        folder.write_text("")
        setup.registry.tick()
        assert [r.message for r in caplog.records].count("token.drains_unreadable") == 2


async def test_a_drained_token_is_neither_good_nor_in_doubt(make_registry: MakeRegistry) -> None:
    """The other tokens decide; where every token is drained, no lane can sign."""
    async with make_registry("acme", "globex") as setup:
        await setup.use("acme")
        setup.drain("acme")
        assert setup.healthy()
        await setup.use("globex", away=True)
        assert not setup.healthy()
        setup.drain("globex")
        assert not setup.healthy()


async def test_a_tenant_without_work_and_lanes_is_forgotten_and_comes_back_with_work(
    make_registry: MakeRegistry,
) -> None:
    """A tenant with an active job is kept, however idle its pool."""
    async with make_registry("acme", "globex") as setup:
        before = setup.registry.of("acme")["acme"]
        setup.registry.forget_idle({"acme"})
        assert setup.registry.of("acme")["acme"] is before
        setup.registry.forget_idle({"globex"})
        assert before not in setup.registry.all()
        await setup.use("acme")
        assert setup.registry.of("acme")["acme"] is not before


async def test_a_tenant_is_remembered_while_it_has_a_lane_or_its_token_is_in_doubt(
    make_registry: MakeRegistry,
) -> None:
    """Forgotten, a failed token would be tried at once by the next job."""
    async with make_registry("acme", "globex") as setup:
        await setup.use("acme", away=True)
        await setup.use("globex")
        setup.registry.forget_idle(set())
        assert {lanes.token for lanes in setup.registry.all()} >= {"acme", "globex"}
        assert not setup.registry.can_sign("acme")


async def test_a_token_that_waits_for_a_shared_hsm_is_woken_also_after_a_reload(
    make_registry: MakeRegistry,
) -> None:
    """The reload sends it nothing while the HSM is full; the end of the other token's chunk does."""
    async with make_registry("acme", "globex", device=2) as setup:
        setup.registry.of("acme")
        await setup.submit("globex")
        (busy,) = setup.host.lanes
        job = await setup.submit("acme")
        waiting = setup.host.lanes[1]
        assert (len(busy.chunks), waiting.chunks) == (1, [])
        setup.reload()
        await turn()
        assert waiting.chunks == [], "the HSM is full"
        busy.answer(busy.chunks[0])
        await turn()
        assert len(waiting.chunks) == 1
        waiting.answer(waiting.chunks[0])
        await turn()
        assert job.done == [(0, 1)]


async def test_digests_that_wait_for_a_shared_hsm_are_not_sent_by_lanes_that_leave(
    make_registry: MakeRegistry,
) -> None:
    """The jobs of a removed tenant are requeued, and its lane exits."""
    async with make_registry("globex", "acme", device=2) as setup:
        await setup.submit("globex")
        job = await setup.submit("acme")
        setup.reload(tenants=["globex"])
        await turn()
        assert job.unavailable == [(0, 1)]
        assert setup.host.lanes[1].chunks == []
        assert not setup.host.lanes[1].alive


async def test_a_reload_changes_no_setting_of_the_worker_for_new_pools(make_registry: MakeRegistry) -> None:
    """A pool that is made later has the ``[worker]`` of the start, as all others."""
    async with make_registry("acme", "globex") as setup:
        setup.site.service += "\n[worker]\nlane_idle_s = 7.0\n"
        setup.reload()
        pools = (setup.registry.of(tenant)[tenant] for tenant in ("acme", "globex"))
        assert [pool._idle_s for pool in pools] == [300.0, 300.0]


async def test_the_lanes_of_each_token_have_ended_when_the_close_of_one_fails(
    make_registry: MakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error of one token is raised after the lanes of the others have ended."""
    async with make_registry("acme", "globex") as setup:
        await setup.use("globex")

        async def fail(within_s: float) -> None:
            raise ValueError(f"a defect, within {within_s:g} s")

        with monkeypatch.context() as patch:
            patch.setattr(setup.registry.of("acme")["acme"], "close", fail)
            with pytest.raises(ValueError, match="a defect"):
                await setup.registry.close(1.0)
        assert setup.registry.of("globex")["globex"]._processes.empty
