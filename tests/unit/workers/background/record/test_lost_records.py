"""A record of this host that Redis knows and that is not here any more is told by the worker, until its heads are removed."""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from queueing.coordination.record_heads import KEEP_MS, PublishedHead
from queueing.errors import QueueUnavailable
from tests.support.farm.certified_logs import certify
from tests.support.farm.logged_jobs import append, job
from tests.support.farm.sealed_logs import seal
from tests.support.heads.certified_heads import config_of, head_here, signed
from workers.background.record import lost_records as module
from workers.background.record.lost_records import LATER_S, MOST_AGE_MS, SOON_S, LostRecordWatch
from workers.journal.segment_writer import SegmentWriter
from workers.record.folder import log_folder
from workers.telemetry.metrics import Metrics

HOST = "host-1"
"""As the statements of ``certify`` have it."""


@dataclasses.dataclass
class Host:
    """A host with a sealed and certified log of acme, and the heads that Redis has; None: it does not answer."""

    state_dir: Path
    heads: list[PublishedHead] | None
    registry: CollectorRegistry
    watch: LostRecordWatch

    def lose(self) -> None:
        """The whole state directory is lost, and an empty one takes its place."""
        shutil.rmtree(self.state_dir)
        self.state_dir.mkdir()

    def metric(self) -> float | None:
        return self.registry.get_sample_value("sigmill_record_lost")


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    state = tmp_path / "state"
    append(SegmentWriter(state / "wal"), *job("acme", 1))
    seal(state)
    log = log_folder(state, "acme")
    certify(log)
    head = head_here(log)
    name = head.origin.rpartition("/")[2]
    published = PublishedHead("acme", name, signed(log, head), KEEP_MS - MOST_AGE_MS - 1)
    registry = CollectorRegistry()
    watch = LostRecordWatch(cast("Redis", None), config_of(state), Metrics(registry))
    made = Host(state, [published], registry, watch)

    async def each_heads(_: Redis, *, pause_s: float) -> AsyncIterator[list[PublishedHead]]:
        assert pause_s > 0, "others of this Redis would wait"
        if made.heads is None:
            raise QueueUnavailable
        for head in made.heads:
            yield [head]

    monkeypatch.setattr(module, "each_heads", each_heads)
    return made


def told(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [vars(record) for record in caplog.records if record.msg == "record.lost"]


async def test_a_state_directory_that_was_lost_whole_is_told_once_and_counted_until_its_heads_are_removed(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    assert (await host.watch.look(HOST), host.metric()) == (0, 0)
    host.lose()
    for _ in range(2):
        assert (await host.watch.look(HOST), host.metric()) == (1, 1)
    (line,) = told(caplog)
    assert host.heads is not None
    assert (line["origin"], line["entries"], line["tenants"]) == (host.heads[0].name, 4, 1)
    host.heads.clear()
    assert (await host.watch.look(HOST), host.metric()) == (0, 0)


async def test_the_record_of_another_host_or_of_a_worker_that_runs_is_not_lost(host: Host) -> None:
    host.lose()
    assert await host.watch.look("host-2") == 0
    assert host.heads is not None
    host.heads[0] = dataclasses.replace(host.heads[0], left_ms=KEEP_MS - MOST_AGE_MS)
    assert await host.watch.look(HOST) == 0


async def test_heads_of_other_hosts_cost_no_signature(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster has those of thousands of tenants on each host."""

    def verified(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr("queueing.transparency.signed_heads.SignedHead.verify", verified)
    assert await host.watch.look("host-2") == 0
    with pytest.raises(AssertionError):
        await host.watch.look(HOST)


class Ended(Exception):
    """The test has seen enough pauses."""


@pytest.mark.parametrize("is_lost", [False, True])
async def test_it_looks_again_when_every_head_is_old_enough_and_more_often_while_something_is_lost(
    host: Host, monkeypatch: pytest.MonkeyPatch, is_lost: bool
) -> None:
    """A Redis that does not answer is asked again, and costs no look."""
    assert SOON_S * 1000 > MOST_AGE_MS
    if is_lost:
        host.lose()
        monkeypatch.setattr(module, "one_word", lambda _: HOST)
    heads, host.heads = host.heads, None
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        host.heads = heads
        if len(pauses) == 4:
            raise Ended

    monkeypatch.setattr(asyncio, "sleep", pause)
    with pytest.raises(Ended):
        await host.watch.run()
    assert pauses[0] < SOON_S
    assert pauses[1:] == [SOON_S, SOON_S if is_lost else LATER_S, SOON_S if is_lost else LATER_S]
