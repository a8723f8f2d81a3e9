"""A small day on the real thing: Redis, worker, lanes, sealer and clients, for six seconds."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.capacity.planning import DEFAULT_MODEL
from bench.day.curve import BEFORE, PEAK
from bench.day.processes import CLIENT, REDIS, SEALER, WORKER, lane_group
from bench.day.results import Day
from bench.day.run import DayOptions, watch
from bench.day.tenants import Tier, tenants_of
from bench.session import QUICK, Session
from queueing.protocol.algorithms import KeyKind

pytestmark = pytest.mark.timeout(300)  # a stack of its own, with a simulated HSM, and its tokens

TENANTS = 12
PER_DAY = 20e6
"""232 digests a second by an enterprise with an RSA-3072 key, and hardly any by the others."""


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short name: unix sockets are below it."""
    return tmp_path_factory.mktemp("d")


def day_of(place: Path, *, kill_worker: bool = False, redis_failover: bool = False) -> Day:
    options = DayOptions(
        minutes=0.1,
        tenants=TENANTS,
        per_day=PER_DAY,
        kill_worker=kill_worker,
        redis_failover=redis_failover,
    )
    tenants = tenants_of(TENANTS, PER_DAY, model=DEFAULT_MODEL, peak_factor=3.0)
    return watch(Session(place, QUICK), options, tenants)


def test_a_small_day_is_signed_and_observed(place: Path) -> None:
    """Everything that was asked for is signed; each process has used CPU; log and record have grown."""
    day = day_of(place)
    assert (day.load.failures, day.load.dropped) == ({}, 0)
    assert {each.phase for each in day.load.classes if each.tier is Tier.ENTERPRISE} >= {BEFORE, PEAK}
    assert day.signed == day.load.progress[-1].asked == day.load.progress[-1].answered > 0
    first, last = day.samples[0], day.samples[-1]
    for group in (CLIENT, REDIS, WORKER, SEALER, lane_group(KeyKind.RSA_3072)):
        assert last.cpu_s[group] > 0
        assert max(sample.rss_bytes.get(group, 0) for sample in day.samples) > 0
    assert last.log_bytes > first.log_bytes
    assert last.redis_bytes is not None
    assert last.lanes >= 1


@pytest.mark.slow
@pytest.mark.parametrize("incident", ["kill_worker", "redis_failover"])
def test_a_day_survives_its_incident(incident: str, place: Path) -> None:
    """A worker is killed, or Redis' primary: every digest is signed all the same."""
    day = day_of(place, **{incident: True})
    assert day.incident_s is not None
    assert (day.load.failures, day.load.dropped) == ({}, 0)
    assert day.signed == day.load.progress[-1].answered > 0
