"""The lanes of a worker as a whole: when it can sign for somebody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from tests.support.config_files import Site, p256_key, tenant_text
from tests.support.fake_lane import FakeHost, FakeJob, turn
from workers.config.loading import load_configuration
from workers.lanes import lane_group
from workers.lanes.batching import Group, Slice
from workers.lanes.drained_tokens import DrainedTokens
from workers.lanes.lane_exit import LaneExit
from workers.lanes.refused_pins import RefusedPins
from workers.lanes.roster import LaneRoster
from workers.metrics import Metrics

GROUP = Group("release", 1, "ECDSA_SHA_256")


@dataclass
class Stand:
    """A worker's lanes on a host of fakes."""

    roster: LaneRoster
    host: FakeHost
    drained: DrainedTokens

    def drain(self, token: str) -> None:
        """As an operator does, and the worker has seen it."""
        self.drained.drain(token)
        self.roster.tick()

    async def use(self, tenant: str, *, away: bool = False) -> None:
        """Work for the tenant, whose token signs it, or is away."""
        lanes = self.roster.of(tenant)[tenant]
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


@pytest.fixture
def stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A context that makes the stand with these tenants, acme by default and globex."""

    @asynccontextmanager
    async def make(*tenants: str) -> AsyncIterator[Stand]:
        host, drained = FakeHost(), DrainedTokens(tmp_path)
        monkeypatch.setattr(lane_group, "open_lane", host.open_lane)
        texts = {name: tenant_text(name, p256_key(i + 1)) for i, name in enumerate(tenants)}
        site = Site(tmp_path, tenants=texts).write()
        async with asyncio.TaskGroup() as tasks:
            roster = LaneRoster(
                load_configuration(site.config),
                refused_pins=RefusedPins(tmp_path),
                drained=drained,
                metrics=Metrics(CollectorRegistry()),
                room=lambda: None,
                orders=lambda _: (),
            )
            roster.start(tasks)
            yield Stand(roster, host, drained)
            await roster.close(1.0)

    return make


async def test_a_worker_can_sign_before_any_lane_was_started(stand: Any) -> None:
    """They start when somebody needs them."""
    async with stand("acme", "globex") as s:
        assert s.roster.healthy


async def test_a_worker_cannot_sign_when_every_token_that_was_tried_is_in_doubt(stand: Any) -> None:
    """Until one of them signs."""
    async with stand("acme", "globex") as s:
        await s.use("acme", away=True)
        await s.use("globex", away=True)
        assert not s.roster.healthy


async def test_the_trouble_of_one_tenant_is_not_that_of_the_worker(stand: Any) -> None:
    """Whether the other one signs, or has had no work yet."""
    async with stand("acme", "globex") as s:
        await s.use("acme", away=True)
        assert s.roster.healthy
        await s.use("globex")
        assert s.roster.healthy


async def test_the_trouble_of_the_only_tenant_is_that_of_the_worker(stand: Any) -> None:
    """It can sign for nobody."""
    async with stand("acme") as s:
        await s.use("acme", away=True)
        assert not s.roster.healthy


async def test_a_drained_token_is_neither_good_nor_in_doubt(stand: Any) -> None:
    """The others decide; where every token is drained, no lane can sign."""
    async with stand("acme", "globex") as s:
        await s.use("acme")
        s.drain("acme")
        assert s.roster.healthy
        await s.use("globex", away=True)
        assert not s.roster.healthy
        s.drain("globex")
        assert not s.roster.healthy


async def test_a_tenant_without_work_and_lanes_is_forgotten_and_comes_back_with_work(stand: Any) -> None:
    """Of thousands only those that sign are kept; one with a job in work is."""
    async with stand("acme", "globex") as s:
        before = s.roster.of("acme")["acme"]
        s.roster.let_idle_go({"acme"})
        assert s.roster.of("acme")["acme"] is before
        s.roster.let_idle_go({"globex"})
        assert before not in s.roster.all()
        await s.use("acme")
        assert s.roster.of("acme")["acme"] is not before


async def test_a_tenant_is_remembered_while_it_has_a_lane_or_its_token_is_in_doubt(stand: Any) -> None:
    """A token that went away would be tried at once by the next job otherwise."""
    async with stand("acme", "globex") as s:
        await s.use("acme", away=True)
        await s.use("globex")
        s.roster.let_idle_go(set())
        assert {lanes.token for lanes in s.roster.all()} >= {"acme", "globex"}
        assert not s.roster.can_sign("acme")
