"""From the claim to the lanes, with a real router, lanes that exist in the test only, and a log in a list."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from queueing.broker.claims import ClaimedJob
from queueing.errors import LimitRate, TokenUnavailable
from queueing.protocol.client_keys import ClientKey
from queueing.protocol.envelope import Envelope, seal
from queueing.protocol.jobs import JobHints, encode_job
from tests.support.config_files import Site, p256_key, tenant_text, version_lines
from workers.active_job import ActiveJob, Ending
from workers.config.loading import load_configuration
from workers.config.stop_rules import Stops
from workers.journal.records import Record
from workers.lanes.supervisor.batching import Slice
from workers.limits.fair_queueing import FairShares
from workers.limits.tenant_limiter import TenantLimiter
from workers.pipeline.dispatcher import Dispatcher
from workers.pipeline.router import Router
from workers.telemetry.metrics import Metrics

CHARGED = 4.0


@dataclass
class Lanes:
    """Those of one token, in use or not."""

    token: str
    healthy: bool = True
    load: int = 0
    given: int = 0
    lacking: bool = False
    pieces: list[Slice] = field(default_factory=list)
    pumped: int = 0

    @property
    def status(self) -> Lanes:
        return self

    def lacks(self, key: str, version: int) -> bool:
        return self.lacking

    def submit(self, piece: Slice) -> None:
        self.pieces.append(piece)

    def pump(self) -> None:
        self.pumped += 1


class Stand:
    """A worker of the tenant ``acme``, which has ``release`` in the token acme and ``nightly`` in globex."""

    def __init__(self, folder: Path) -> None:
        second = (
            '[keys.nightly]\nclients = ["*"]\nalgorithms = ["ECDSA_SHA_256"]\n\n[[keys.nightly.versions]]\n'
        )
        text = f"{tenant_text()}\n{second}{version_lines(p256_key(2), token='globex')}"
        tenants = load_configuration(Site(folder, tenants={"acme": text}).write().config).tenants
        self.lanes = {token: Lanes(token) for token in ("acme", "globex")}
        self.log: list[Record] = []
        self.finished: list[ActiveJob] = []
        metrics = Metrics(CollectorRegistry())
        self.allowances = TenantLimiter(lambda: tenants, metrics)
        self.router = Router(
            tenants=lambda: tenants,
            lanes_of=lambda _: cast("Any", self.lanes),
            stops_of=lambda _: Stops(),
            allowances=self.allowances,
            audience="test",
            most_crashes=3,
        )
        self.handover = Dispatcher(
            self.router,
            tenants=lambda: tenants,
            allowances=self.allowances,
            shares=FairShares(self.allowances.weight),
            budgets=cast("Any", self),
            wal=cast("Any", self),
            metrics=metrics,
            draining=lambda: False,
        )

    async def append(self, records: Sequence[Record]) -> None:
        """The log."""
        self.log += records

    async def reserve(self, *_: object) -> dict[ActiveJob, Any]:
        """The budgets: there are none."""
        return {}

    def job(self, key: str) -> ActiveJob:
        now_ms = time.time_ns() // 1_000_000
        envelope = Envelope(
            audience="test",
            tenant="acme",
            client="build-1",
            key=key,
            key_version=0,
            algorithm="ECDSA_SHA_256",
            issued_at_ms=now_ms,
            expires_at_ms=now_ms + 60_000,
            idempotency_key=bytes(16),
            digests=(bytes(32),),
        )
        payload = encode_job(seal(envelope, ClientKey.generate()), JobHints(n=1), now_ms)
        claimed = ClaimedJob(
            tenant="acme",
            job_id=key.encode(),
            due_ms=b"1000",
            attempt=1,
            payload=payload,
            lease=b"worker:7",
            charged_digests=1,
            charged_cost=CHARGED,
        )
        return ActiveJob(claimed, self.finished.append)


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    return Stand(tmp_path)


async def test_a_job_goes_to_the_token_that_has_its_key(stand: Stand) -> None:
    """After its intent is on record."""
    job = stand.job("release")
    await stand.handover.take([job])
    assert [piece.job for piece in stand.lanes["acme"].pieces] == [job]
    assert stand.lanes["acme"].pumped == 1
    assert len(stand.log) == 1


async def test_a_job_whose_only_token_is_out_of_use_goes_back_with_nothing_on_record(stand: Stand) -> None:
    """Due again a little later: the tenant's other token makes room, so that it would be claimed again at once."""
    stand.lanes["acme"].healthy = False
    job, other = stand.job("release"), stand.job("nightly")
    await stand.handover.take([job, other])
    assert isinstance(job.unavailable, TokenUnavailable)
    assert (job.ending, job.delayed, stand.finished) == (Ending.RETURN, True, [job])
    assert stand.lanes["acme"].pieces == []
    assert [piece.job for piece in stand.lanes["globex"].pieces] == [other]
    assert len(stand.log) == 1, "an intent was made durable for a job that no lane may have"


async def test_a_job_that_goes_back_was_charged_nothing(stand: Stand) -> None:
    """Neither by its tenant's account nor by the worker's own cap; the release gives back what the claim took."""
    stand.lanes["acme"].healthy = False
    job = stand.job("release")
    await stand.handover.take([job])
    assert (job.cost, job.owed_cost, job.owed_digests) == (0.0, 0.0, 0)


async def test_a_token_that_is_back_is_used_again(stand: Stand) -> None:
    """By the next job of its key."""
    stand.lanes["acme"].healthy = False
    await stand.handover.take([stand.job("release")])
    stand.lanes["acme"].healthy = True
    await stand.handover.take([stand.job("release")])
    assert len(stand.lanes["acme"].pieces) == 1


async def test_a_token_that_lacks_the_key_is_tried_where_no_other_has_it(stand: Stand) -> None:
    """The lane says whether the key is there now; only tokens that are out of use are not asked."""
    stand.lanes["acme"].lacking = True
    await stand.handover.take([stand.job("release")])
    assert len(stand.lanes["acme"].pieces) == 1


async def test_a_job_over_the_workers_own_cap_goes_back(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one whose token is out of use."""

    def over(*_: object) -> None:
        raise LimitRate

    monkeypatch.setattr(stand.allowances, "charge", over)
    job = stand.job("release")
    await stand.handover.take([job])
    assert (job.ending, job.delayed, stand.log) == (Ending.RETURN, True, [])
