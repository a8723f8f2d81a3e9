"""Readiness of a worker: what makes ``/readyz`` answer no."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import pytest

from workers.intake.claim_loop import ClaimLoop
from workers.journal.journal import WriteAheadLog
from workers.lanes.supervisor.registry import LaneRegistry
from workers.lifecycle.heartbeat import Heartbeat
from workers.lifecycle.shutdown import ShutdownDeadline
from workers.pipeline.result_publisher import ResultPublisher
from workers.readiness import Readiness


@dataclass
class Parts:
    """The state of every part that readiness depends on; all is well."""

    alive: bool = True
    redis_answers: bool = True
    unconfirmed: bool = False
    failing: bool = False
    healthy: bool = True


@pytest.fixture
def parts() -> Parts:
    return Parts()


@pytest.fixture
def shutdown() -> ShutdownDeadline:
    return ShutdownDeadline(20.0)


@pytest.fixture
def readiness(parts: Parts, shutdown: ShutdownDeadline) -> Readiness:
    made = Readiness(
        heartbeat=cast("Heartbeat", parts),
        shutdown=shutdown,
        claim_loop=cast("ClaimLoop", parts),
        publisher=cast("ResultPublisher", parts),
        wal=cast("WriteAheadLog", parts),
        lanes=cast("LaneRegistry", parts),
    )
    made.started = True
    return made


def test_a_worker_is_ready_when_every_part_is_well(readiness: Readiness) -> None:
    """Then it can claim, and at least one lane can sign."""
    assert readiness.ready


@pytest.mark.parametrize("trouble", ["alive", "redis_answers", "unconfirmed", "failing", "healthy"])
def test_trouble_of_one_part_makes_it_unready(readiness: Readiness, parts: Parts, trouble: str) -> None:
    """And its end makes the worker ready again."""
    setattr(parts, trouble, not getattr(parts, trouble))
    assert not readiness.ready
    setattr(parts, trouble, not getattr(parts, trouble))
    assert readiness.ready


def test_a_worker_is_not_ready_before_its_log_is_recovered(readiness: Readiness) -> None:
    """Nothing is claimed before."""
    readiness.started = False
    assert not readiness.ready


def test_a_worker_that_shuts_down_is_not_ready(readiness: Readiness, shutdown: ShutdownDeadline) -> None:
    """From the first SIGTERM on."""
    shutdown.ask()
    assert (readiness.ready, readiness.draining) == (False, True)
