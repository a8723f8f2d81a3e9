"""Steps of the clocks of client, worker, lanes and Redis under load: all that is accepted is signed once they are repaired."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from queueing import Signature, SigningClient
from queueing.client.signatures import Outcome
from queueing.errors import EnvelopeExpired
from tests.support.farm.farm import digests
from tests.support.hsm.tokens import TokenShelf
from tests.support.redis.process import RedisProcess
from tests.support.rig.rig import WorkerProcess
from tests.support.rig.shared_rig import behind_simhsm, signed_for_jobs
from tests.support.rig.stepped_rig import Clocks, SteppedRig
from tests.support.waiting import until_async

HOUR_S = 3600
YEARS_S = 3 * 365 * 86_400
STEP_LASTS_S = 3.0
"""Long enough for jobs that are claimed, signed and refused meanwhile; a busy machine has as long as it needs."""

STEPS_TOLD = ("clock.set_ahead", "clock.set_back", "clock.far_back")

PATIENCE_S = 60.0
WHO = ["client", "worker", "lane", "host", "redis"]
STEPS_S = [
    HOUR_S,
    -HOUR_S,
    pytest.param(YEARS_S, marks=pytest.mark.slow),
    pytest.param(-YEARS_S, marks=pytest.mark.slow),
]


@pytest.fixture
def rig(tmp_path: Path, shelf: TokenShelf) -> Iterator[SteppedRig]:
    clocks = Clocks.in_folder(tmp_path / "clocks")
    environment = clocks.redis.environment()
    with (
        RedisProcess(tmp_path / "redis", password="rig-password", environment=environment) as server,
        SteppedRig(
            directory=tmp_path / "rig", redis=server, shelf=shelf, clocks=clocks, worker={"lease_s": 3.0}
        ) as made,
    ):
        made.wrap = behind_simhsm(made.directory, sign_us=500)
        yield made


@pytest.fixture
def worker(rig: SteppedRig) -> WorkerProcess:
    return rig.start_worker()


class EndlessRun:
    """Digests that are submitted without pause until it is over; one outcome each."""

    def __init__(self, client: SigningClient) -> None:
        self._client = client
        self._over = asyncio.Event()
        self.given: list[bytes] = []
        self.outcomes: list[Outcome] = []

    async def _digests(self) -> AsyncIterator[bytes]:
        while not self._over.is_set():
            for _ in range(8):
                self.given.append(os.urandom(32))
                yield self.given[-1]
            await asyncio.sleep(0.05)

    async def run(self) -> None:
        outcomes = self._client.sign_many("release", self._digests(), timeout_s=PATIENCE_S)
        async with contextlib.aclosing(outcomes):
            async for outcome in outcomes:
                self.outcomes.append(outcome)

    def end(self) -> None:
        self._over.set()


async def step_under_load(
    rig: SteppedRig, whose: str, step_s: int, seen: Callable[[EndlessRun], bool]
) -> EndlessRun:
    """Outcomes of a load during which the clock is stepped, and corrected after ``STEP_LASTS_S``, when the step was ``seen``."""
    async with rig.client() as client:
        load = EndlessRun(client)
        working = asyncio.create_task(load.run())
        await until_async(lambda: len(load.outcomes) > 64, "some are there")
        rig.clocks.set_ahead_s(whose, step_s)
        before = len(load.given)
        await asyncio.sleep(STEP_LASTS_S)
        await until_async(
            lambda: len(load.given) > before and seen(load), "the step is seen", within_s=PATIENCE_S
        )
        rig.clocks.set_ahead_s(whose, 0)
        given = len(load.given)
        await until_async(
            lambda: len(load.outcomes) > given, "what was accepted is signed", within_s=PATIENCE_S
        )
        load.end()
        await working
    assert len(load.outcomes) == len(load.given)
    return load


def returned(worker: WorkerProcess) -> float:
    """Jobs that came back to the queue unsigned, since the clock was set back."""
    return worker.metric("sigmill_jobs_returned_total", tenant="acme", reason="clock.set_back")


def failures(load: EndlessRun) -> list[Outcome]:
    return [outcome for outcome in load.outcomes if not isinstance(outcome, Signature)]


@pytest.mark.parametrize("step_s", STEPS_S)
@pytest.mark.parametrize("whose", WHO)
async def test_what_is_accepted_during_a_step_is_signed_after_the_repair(
    rig: SteppedRig, worker: WorkerProcess, whose: str, step_s: int
) -> None:
    """Only a client whose own clock is years off is refused, with the difference; nothing is removed from the
    log.
    """
    refused = whose == "client" and abs(step_s) == YEARS_S
    told = whose in {"lane", "host"} and step_s > 0

    def seen(load: EndlessRun) -> bool:
        """Whether that has come of the step which is to come of it."""
        return bool(failures(load)) >= refused and any(map(worker.events, STEPS_TOLD)) >= told

    load = await step_under_load(rig, whose, step_s, seen)
    failed = failures(load)
    if refused:
        assert failed
        for outcome in failed:
            assert isinstance(outcome, EnvelopeExpired), outcome
            assert "this host's clock is 1095.0 d" in outcome.message
    else:
        assert not failed
    assert worker.alive
    assert not worker.events("log.removed")
    assert not told or any(map(worker.events, STEPS_TOLD)), "the lanes have seen the step"


@pytest.mark.parametrize("whose, step_s", [("worker", HOUR_S), ("redis", -HOUR_S)])
async def test_the_operator_is_told_whose_clock_was_set_and_by_how_much(
    rig: SteppedRig, worker: WorkerProcess, whose: str, step_s: int
) -> None:
    """The metric has the difference, and the log names the clock."""
    ahead_s = step_s if whose == "worker" else -step_s
    await until_async(lambda: worker.metric("sigmill_clock_ahead_seconds") != 0.0, "it was measured")
    rig.clocks.set_ahead_s(whose, step_s)
    await until_async(lambda: worker.events("clock.differs") > 0, "the difference is told")
    assert worker.metric("sigmill_clock_ahead_seconds") == pytest.approx(ahead_s, abs=5)
    (line,) = [line for line in worker.log().splitlines() if "clock.stepped" in line]
    assert f'"clock":"{"host" if whose == "worker" else "redis"}"' in line.replace(" ", "")
    rig.clocks.set_ahead_s(whose, 0)
    await until_async(lambda: worker.events("clock.agrees") > 0, "that they agree is told")


@pytest.mark.parametrize("whose", ["lane", "host"])
async def test_an_expired_envelope_is_not_signed_when_the_clock_is_set_back(
    rig: SteppedRig, worker: WorkerProcess, whose: str
) -> None:
    """A lane that has seen a time after its end refuses it, and the HSM signs nothing."""
    config = replace(rig.client_config("acme"), envelope_ttl_s=600.0)
    (digest,) = digests(1, salt="expired")
    log = rig.directory / "acme.simhsm.log"
    async with rig.client() as now:
        assert isinstance(await now.sign("release", os.urandom(32), timeout_s=60), Signature)
        signed = len(signed_for_jobs(log))
        rig.clocks.client.set_ahead_s(-HOUR_S)
        rig.clocks.set_ahead_s(whose, -HOUR_S)
        async with SigningClient(config, rig.keys["acme"], now_ms=rig.clocks.client.now_ms) as old:
            job = await old.submit("release", [digest], request_id="old")
            await until_async(lambda: worker.events("clock.set_back") > 0, "a lane refuses it")
            await until_async(lambda: returned(worker) > 1, "it has come back to the queue, and again")
            assert len(signed_for_jobs(log)) == signed
            await now.cancel([part.job_id for part in job.parts])
