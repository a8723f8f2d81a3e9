"""Claims that Redis refuses: all of them make the worker unready, those of one tenant do not; each reason is news once."""

from __future__ import annotations

from dataclasses import replace

import pytest
from redis.exceptions import (
    ClusterDownError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from queueing.errors import QueueUnavailable
from queueing.redis.errors import unavailable
from tests.support.fakes.configurations import configuration, tenant
from workers.config.settings import WorkerSettings
from workers.config.tenants import Tenant
from workers.current_config import CurrentConfig
from workers.intake.refusals import POLLS, REPORT_S, Refusals

RIGHTS = QueueUnavailable("cannot claim jobs: NoPermissionError: no rights", server_wide=True)
DAMAGED = QueueUnavailable("cannot claim jobs: ResponseError: WRONGTYPE")


class Intake:
    """Refusals of the tenants acme and globex, with a clock."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.settings = WorkerSettings(slow_poll_s=1.0)
        self.config = CurrentConfig(configuration([tenant("acme"), tenant("globex")], worker=self.settings))
        self.refusals = Refusals(self.config, clock_s=lambda: self.now_s)


def test_a_redis_that_refuses_every_tenant_refuses_all() -> None:
    """It counts as refusing all once every tenant was polled since the last claim that was carried out."""
    intake = Intake()
    intake.refusals.accepted("globex")
    intake.refusals.refused("acme", RIGHTS)
    intake.refusals.refused("globex", RIGHTS)
    assert not intake.refusals.total
    intake.now_s += POLLS * 1.0 + 0.1
    assert intake.refusals.total


def test_a_refusal_of_one_tenant_does_not_affect_another() -> None:
    """Damaged keys of one tenant do not make the worker unready."""
    intake = Intake()
    for _ in range(10):
        intake.refusals.refused("acme", DAMAGED)
        intake.refusals.accepted("globex")
        intake.now_s += 1.0
        assert not intake.refusals.total


def test_the_first_claim_that_is_carried_out_ends_it() -> None:
    """A claim of any tenant shows that Redis carries claims out."""
    intake = Intake()
    intake.refusals.refused("acme", RIGHTS)
    assert intake.refusals.total
    intake.refusals.accepted("globex")
    assert not intake.refusals.total


def test_a_refusal_that_has_ended_is_no_sign_of_a_redis_that_refuses_all() -> None:
    """A worker that makes no claim for a while, as one without free lanes, stays ready."""
    intake = Intake()
    intake.refusals.refused("acme", DAMAGED)
    intake.refusals.accepted("acme")
    intake.now_s += 3600.0
    assert not intake.refusals.total


def test_a_tenant_that_was_removed_holds_nothing_up() -> None:
    """It is claimed for no more, so that nothing would take its refusal back."""
    intake = Intake()
    intake.refusals.refused("acme", DAMAGED)
    assert intake.refusals.total
    intake.config.adopt(configuration([tenant("globex")], worker=intake.settings))
    assert not intake.refusals.total


def test_a_reason_is_news_once() -> None:
    """A reason of the server is new once for all tenants, one of a tenant's keys once until it ended."""
    intake = Intake()
    refusals = intake.refusals
    assert refusals.refused("acme", RIGHTS)
    assert not refusals.refused("acme", RIGHTS)
    assert not refusals.refused("globex", RIGHTS)
    assert refusals.refused("acme", DAMAGED)
    assert refusals.refused("globex", DAMAGED)
    assert not refusals.refused("globex", DAMAGED)
    refusals.accepted("globex")
    intake.now_s += REPORT_S
    assert refusals.refused("globex", DAMAGED)


def test_a_tenant_whose_claims_fail_and_succeed_in_turn_is_news_once_a_minute() -> None:
    """Its Redis user can change a key between two claims; what is refused for longer is told then."""
    intake = Intake()
    told = 0
    for _ in range(600):
        told += intake.refusals.refused("acme", DAMAGED)
        intake.refusals.accepted("acme")
        intake.now_s += 0.1
    assert told == 1
    intake.now_s -= 0.2
    assert not intake.refusals.refused("acme", DAMAGED)
    intake.now_s += 0.3
    assert intake.refusals.refused("acme", DAMAGED)
    assert not intake.refusals.refused("acme", DAMAGED)


def test_a_reason_of_the_server_is_told_by_the_next_tenant() -> None:
    """A tenant that told of it within the last minute keeps none of the others silent."""
    intake = Intake()
    assert intake.refusals.refused("acme", RIGHTS)
    intake.refusals.accepted("acme")
    assert not intake.refusals.refused("acme", RIGHTS)
    assert intake.refusals.refused("globex", RIGHTS)
    assert not intake.refusals.refused("acme", RIGHTS)


@pytest.mark.parametrize(
    "left", [[], [replace(tenant("acme"), suspended=True)]], ids=["removed", "suspended"]
)
def test_a_tenant_that_is_claimed_for_no_more_keeps_no_reason_silent(left: list[Tenant]) -> None:
    """Nothing takes its refusal back, and the same one of the whole server is news again, a day later."""
    intake = Intake()
    assert intake.refusals.refused("acme", RIGHTS)
    intake.config.adopt(configuration([*left, tenant("globex")], worker=intake.settings))
    intake.refusals.accepted("globex")
    intake.now_s += 86_400.0
    assert intake.refusals.refused("globex", RIGHTS)
    assert not intake.refusals.refused("globex", RIGHTS)


def test_a_reason_that_was_told_of_another_tenant_is_not_told_again_when_that_one_is_served() -> None:
    """Also of a tenant whose own line was held back before."""
    intake = Intake()
    refusals = intake.refusals
    assert refusals.refused("acme", RIGHTS)
    refusals.accepted("acme")
    assert not refusals.refused("acme", RIGHTS)
    assert refusals.refused("globex", RIGHTS)
    assert not refusals.refused("acme", RIGHTS)
    refusals.accepted("globex")
    intake.now_s += REPORT_S
    assert not refusals.refused("acme", RIGHTS)


def test_one_reason_keeps_another_silent_neither_in_a_tenant_nor_beside_it() -> None:
    """What it was before is news again, too, when its minute is over."""
    intake = Intake()
    refusals = intake.refusals
    assert refusals.refused("globex", DAMAGED)
    assert refusals.refused("acme", RIGHTS)
    assert refusals.refused("acme", DAMAGED)
    assert not refusals.refused("acme", RIGHTS)
    intake.now_s += REPORT_S
    assert refusals.refused("acme", DAMAGED)


def test_of_reasons_that_change_those_of_a_minute_are_remembered() -> None:
    """Their words are Redis': there is no bound on how many there are."""
    intake = Intake()
    for number in range(10):
        assert intake.refusals.refused("acme", QueueUnavailable(f"cannot claim jobs: ERR {number}"))
        intake.now_s += REPORT_S / 2
    assert len(intake.refusals._told_at_s) == 2


@pytest.mark.parametrize(
    "error, server_wide",
    [
        (NoPermissionError("no permissions to run the 'evalsha' command"), True),
        (OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), True),
        (ReadOnlyError("You can't write against a read only replica."), True),
        (ClusterDownError("The cluster is down"), True),  # type: ignore[no-untyped-call]
        (ResponseError("MISCONF Redis is configured to save RDB snapshots, but …"), True),
        (ResponseError("NOREPLICAS Not enough good replicas to write."), True),
        (ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value"), False),
    ],
)
def test_refusals_of_the_server_are_told_from_those_of_a_key(error: RedisError, server_wide: bool) -> None:
    """The class of redis-py decides, or Redis' code where there is no class."""
    assert unavailable("claim jobs", error).server_wide is server_wide
