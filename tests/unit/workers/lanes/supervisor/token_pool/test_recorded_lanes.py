"""Lanes in the log: every login, start and end, and the number of calls of C_Sign with each key version."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import cast

import pytest

from tests.support.fakes.fake_lane import FakeJob
from tests.support.fakes.token_pools import MakePool, PoolSetup
from tests.support.waiting import turn
from workers.background.lane_records import MOST_KEYS, LaneRecords
from workers.journal.event_records import (
    EventRecord,
    KeyOperations,
    LaneEndedRecord,
    LaneOperationsRecord,
    LaneStartedRecord,
    LoginRecord,
)
from workers.journal.journal import WriteAheadLog
from workers.lanes.exit_codes import LaneExit
from workers.lanes.protocol import SignCanary, SignedCanary
from workers.state.token_claims import TokenProperties

TOKEN = TokenProperties("maker", "SoftHSM v2", "0123", "acme", 1)


class Log:
    """Keeps what is appended."""

    def __init__(self) -> None:
        self.records: list[EventRecord] = []

    def append_nowait(self, records: Sequence[EventRecord]) -> None:
        self.records += records

    def of(self, kind: type[EventRecord]) -> list[EventRecord]:
        return [record for record in self.records if isinstance(record, kind)]

    def calls(self) -> list[KeyOperations]:
        return [
            each
            for record in self.records
            if isinstance(record, LaneOperationsRecord)
            for each in record.operations
        ]

    def ends(self) -> list[tuple[str, int, int]]:
        return [(e.reason, e.calls, e.in_doubt) for e in self.records if isinstance(e, LaneEndedRecord)]


def recording() -> tuple[Log, LaneRecords]:
    log = Log()
    return log, LaneRecords(cast("WriteAheadLog", log))


async def signed(setup: PoolSetup, calls: tuple[KeyOperations, ...] | None, count: int = 1) -> None:
    await setup.submit(FakeJob("next"), count=count)
    lane = setup.lanes[-1]
    lane.answer(lane.chunks[-1], calls)
    await turn()


async def test_a_lane_is_in_the_log_from_its_login_to_its_end(make_pool: MakePool) -> None:
    """Its records have one id; the start has token, module and build, and the end the sum of all calls."""
    log, records = recording()
    async with make_pool(recorder=records) as setup:
        await setup.submit(FakeJob("a"))
        assert log.records == []
        setup.lanes[0].ready(token=TOKEN)
        await turn()
        login, started = log.records
        assert isinstance(login, LoginRecord)
        assert isinstance(started, LaneStartedRecord)
        assert (login.tenant, login.token, login.outcome) == ("acme", "acme", "accepted")
        assert (started.tenant, started.token, started.sessions) == ("acme", "acme", 2)
        assert (started.serial, started.model, started.module) == ("0123", "SoftHSM v2", "fake")
        assert started.build == version("sigmill")
        setup.lanes[0].answer(setup.lanes[0].chunks[0], (KeyOperations("release", 1, 3),))
        await turn()
        records.record_operations()
        await signed(setup, (KeyOperations("release", 1, 2), KeyOperations("nightly", 4, 1)))
        assert log.calls() == [KeyOperations("release", 1, 3)]
    assert log.calls()[1:] == [KeyOperations("nightly", 4, 1), KeyOperations("release", 1, 2)]
    assert log.ends() == [("asked", 6, 0)]
    ids = {record.lane for record in log.records if not isinstance(record, LoginRecord)}  # type: ignore[union-attr]
    assert ids == {started.lane}
    assert len(started.lane) == 16


async def test_calls_that_failed_or_were_repeated_count(make_pool: MakePool) -> None:
    """The lane's own number counts, not that of the signatures."""
    log, records = recording()
    async with make_pool(recorder=records) as setup:
        await setup.start(FakeJob("a"))
        setup.lanes[0].answer(setup.lanes[0].chunks[0], (KeyOperations("release", 1, 5),))
        await turn()
    assert log.calls() == [KeyOperations("release", 1, 5)]


async def test_of_a_lane_that_counts_no_calls_the_signatures_count(make_pool: MakePool) -> None:
    """A host-started lane of a former version."""
    log, records = recording()
    async with make_pool(recorder=records) as setup:
        await setup.start(FakeJob("a"), count=3)
        setup.lanes[0].answer(setup.lanes[0].chunks[0])
        await turn()
    assert log.calls() == [KeyOperations("release", 1, 3)]


async def test_a_canary_is_a_call(make_pool: MakePool) -> None:
    log, records = recording()
    async with make_pool(recorder=records) as setup:
        await setup.start(FakeJob("a"))
        setup.lanes[0].answer(setup.lanes[0].chunks[0], ())
        await turn()
        request = SignCanary(1, "release", 1)
        setup.pool._processes.ready_lanes()[0].send_request(request)
        setup.lanes[0].say(SignedCanary(1, b"signature", None, (KeyOperations("release", 1, 1),)))
        await turn()
    assert log.calls() == [KeyOperations("release", 1, 1)]


async def test_what_a_lane_had_not_answered_is_in_doubt(make_pool: MakePool) -> None:
    """Each of these digests may have been a call that is in no number."""
    log, records = recording()
    async with make_pool(recorder=records) as setup:
        await setup.start(FakeJob("a"), count=3)
        setup.lanes[0].end(-9)
        await turn()
        assert log.ends() == [("signal_9", 0, 3)]


async def test_a_refused_pin_is_in_the_log(make_pool: MakePool) -> None:
    """The lane never started."""
    log, records = recording()
    async with make_pool(recorder=records) as setup:
        await setup.submit(FakeJob("a"))
        setup.lanes[0].fail("CKR_PIN_INCORRECT", LaneExit.PIN)
        await turn()
    (login,) = log.records
    assert isinstance(login, LoginRecord)
    assert (login.tenant, login.outcome, login.by) == ("acme", "CKR_PIN_INCORRECT", "lane")


async def test_a_lane_that_fails_before_its_login_is_no_event(make_pool: MakePool) -> None:
    """Nothing of it touched the token's keys."""
    log, records = recording()
    async with make_pool(recorder=records) as setup:
        await setup.submit(FakeJob("a"))
        setup.lanes[0].fail("CKR_TOKEN_NOT_PRESENT", LaneExit.CIRCUIT)
        await turn()
    assert log.records == []


async def test_calls_with_many_keys_are_in_several_records(make_pool: MakePool) -> None:
    """Each record has a bounded size; calls with more keys than a lane may name are counted together."""
    log, records = recording()
    async with make_pool(recorder=records) as setup:
        await setup.start(FakeJob("a"))
        setup.lanes[0].answer(
            setup.lanes[0].chunks[0], tuple(KeyOperations(f"key-{n:04d}", 1, 1) for n in range(1025))
        )
        await turn()
        await signed(setup, tuple(KeyOperations(f"other-{n:04d}", 1, 1) for n in range(1025)))
        records.record_operations()
        sizes = [len(each.operations) for each in log.of(LaneOperationsRecord)]  # type: ignore[union-attr]
        assert len(sizes) > 1
        assert max(sizes) <= MOST_KEYS
        assert log.calls()[0] == KeyOperations("", 0, 1026)
        assert sum(each.calls for each in log.calls()) == 2050


@pytest.mark.parametrize("times", [1, 2])
async def test_a_lane_without_calls_has_no_record_of_them(make_pool: MakePool, times: int) -> None:
    log, records = recording()
    async with make_pool(recorder=records) as setup:
        await setup.start(FakeJob("a"))
        for _ in range(times):
            records.record_operations()
    assert log.of(LaneOperationsRecord) == []
