"""A testbed, its loads and the baseline: small, but the real thing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.baseline.flow import ArqFlow
from bench.hsm.keyring import Keyring
from bench.load.flows import SigmillFlow, coalesced, in_envelopes, load_process
from bench.load.messages import Arrivals, Burst, Coalesced, Endless, Flood, Order, Paced, Rest
from bench.load.supervisor import LoadFailed, LoadProcess
from bench.queue.backlog import Backlog
from bench.scenarios.rubbish import flood_process
from bench.session import QUICK, Session
from bench.testbed.config_files import BenchTenant, SimTimes
from bench.testbed.replicas import Replication
from bench.testbed.testbed import BenchTestbed
from queueing.protocol import keyspace
from queueing.protocol.algorithms import KeyKind
from tests.support.waiting import until

TRUSTED = BenchTenant(name="trusted", kind=KeyKind.P256, verify_after_sign=False)
SIMULATED = BenchTenant(
    name="simulated",
    kind=KeyKind.P256,
    verify_after_sign=False,
    sessions=8,
    lanes=1,
    simulated=SimTimes(sign_us=2000),
)


@pytest.fixture(scope="module")
def testbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BenchTestbed]:
    """Two tenants: SoftHSM, and a device of 8 sessions that takes 2 ms."""
    place = tmp_path_factory.mktemp("s")
    with BenchTestbed(place / "s", Keyring(place / "t"), [TRUSTED, SIMULATED]) as running:
        yield running


def jobs_done(testbed: BenchTestbed) -> float:
    found = re.findall(r'^sigmill_jobs_total\{.*tenant="trusted".*\} (\S+)$', testbed.metrics(), re.MULTILINE)
    return sum(map(float, found))


def test_a_round_tells_signatures_time_cpu_and_round_trips(testbed: BenchTestbed) -> None:
    """Every group of processes has used CPU, and there are fewer round trips than signatures."""
    with SigmillFlow(testbed, TRUSTED.name, in_envelopes(64)) as flow:
        measured = flow.round(0.5)
    assert measured.signatures % 64 == 0
    assert measured.per_s == measured.signatures / measured.seconds
    assert set(measured.cpu_s) == {"client", "redis", "worker", "lane"}
    assert measured.cpu_s["lane"] > 0
    assert 0 < measured.round_trips < measured.signatures


@pytest.mark.parametrize("kind", ["unknown clients", "names that are not UTF-8"])
def test_a_flood_is_refused_until_it_is_ended(testbed: BenchTestbed, kind: str) -> None:
    """It is ended by the next order, and leaves nothing in the queue."""

    def refused() -> float:
        found = re.findall(
            r'^sigmill_unauthenticated_jobs_total\{.*tenant="simulated".*\} (\S+)$',
            testbed.metrics(),
            re.MULTILINE,
        )
        return sum(map(float, found))

    before = refused()
    with flood_process(testbed, SIMULATED) as flood:
        flood.order(Flood(kind=kind))
        assert flood.answer().jobs == 0
        until(lambda: refused() > before, "the worker refuses the flood")
        flood.order(Rest())
        assert flood.answer().jobs > 0
    assert testbed.redis.do(lambda redis: redis.zcard(keyspace.queue(SIMULATED.name))) == 0


@pytest.mark.parametrize("size", [1, 16, 256])
def test_envelopes_have_the_size_that_was_ordered(testbed: BenchTestbed, size: int) -> None:
    """512 digests are as many jobs as their size says."""
    with load_process(testbed, TRUSTED) as load:
        before = jobs_done(testbed)
        load.order(Burst(digests=512, size=size))
        done = load.answer()
    assert (done.signatures, done.failures) == (512, {})
    assert jobs_done(testbed) - before == 512 // size


@pytest.mark.parametrize(
    "order,signatures",
    [
        (Coalesced(digests=300, callers=100), 300),
        (Paced(digests=5, pause_s=0.001), 5),
        (Burst(digests=64, size=64, verify=True), 64),
        (Burst(digests=64, size=1, clients=4), 64),
    ],
)
def test_loads_do_what_they_are_ordered(testbed: BenchTestbed, order: Order, signatures: int) -> None:
    """Each kind of load signs as many digests as it was told."""
    with load_process(testbed, TRUSTED) as load:
        load.order(order)
        done = load.answer()
    assert (done.signatures, done.failures) == (signatures, {})
    assert done.seconds > 0


def test_an_open_loop_keeps_its_schedule(testbed: BenchTestbed) -> None:
    """About as many requests as rate and time say, each with a latency."""
    with load_process(testbed, TRUSTED) as load:
        load.order(Arrivals(requests_per_s=100.0, seconds=0.5, size=4, seed=1))
        done = load.answer()
    assert done.open_loop is not None
    assert done.open_loop.failed == 0
    assert 20 < done.open_loop.latency.count < 90
    assert done.signatures == 4 * done.open_loop.latency.count


def test_a_flood_ends_when_told(testbed: BenchTestbed) -> None:
    """Endless load is answered at once and ends with the next order."""
    with load_process(testbed, TRUSTED) as load:
        answers = []
        for order in (Endless(size=16), Rest(), Burst(digests=16, size=16)):
            load.order(order)
            answers.append(load.answer())
    assert [done.signatures for done in answers] == [0, 0, 16]


def test_a_simulated_device_bounds_the_rate(testbed: BenchTestbed) -> None:
    """8 sessions of 2 ms sign 4,000 a second at most."""
    with SigmillFlow(testbed, SIMULATED.name, in_envelopes(64)) as flow:
        assert 0 < flow.round(0.5).per_s < 4_100


def test_coalescing_callers_are_a_flow_too(testbed: BenchTestbed) -> None:
    """Far fewer round trips than signatures: calls share envelopes."""
    with SigmillFlow(testbed, TRUSTED.name, coalesced(500)) as flow:
        measured = flow.round(0.5)
    assert measured.round_trips < measured.signatures / 4


def test_stock_arq_signs_the_same_way(testbed: BenchTestbed) -> None:
    """The baseline signs on the same Redis and module."""
    with ArqFlow(testbed, testbed.keyring[KeyKind.P256]) as flow:
        measured = flow.round(0.3)
    assert measured.signatures > 10
    assert set(measured.cpu_s) == {"client", "redis", "worker"}


def test_a_load_that_dies_says_why(tmp_path: Path) -> None:
    """The message has the end of its log."""
    with (
        pytest.raises(LoadFailed, match="usage"),
        LoadProcess(["-m", "bench.load.client_process"], tmp_path / "log"),
    ):
        pass


def test_a_backlog_stays_as_full_as_it_was(tmp_path: Path) -> None:
    """A step requeues the jobs that it commits, and both halves of it cost something."""
    with Backlog(tmp_path / "r", tenants=2, jobs=2_000) as backlog:
        steps = [backlog.step() for _ in range(3)]
        assert backlog.waiting() == 2_000
    assert all(step.claim_us > 0 and step.commit_us > 0 for step in steps)


def test_a_session_finds_the_best_drives_once(tmp_path: Path) -> None:
    """The second look at the same kind of key opens only what the first one kept."""
    session = Session(tmp_path, QUICK)
    with session.ceiling(KeyKind.P256, seconds=0.05) as first:
        kept = set(first.drives)
    with session.ceiling(KeyKind.P256, seconds=0.05) as second:
        assert set(second.drives) == kept
        second.round(0.05)
        assert len(second.best_rates(1)) == 1
    assert len(kept) == 2


def test_a_testbed_with_replicas_waits_for_as_many_as_the_level_needs(tmp_path: Path) -> None:
    """Submits and commits of the level wait for replicas that are linked; those under local, beside as many replicas, for none."""
    keyring = Keyring(tmp_path / "t")
    waits = {}
    for needed in (0, 1):
        replication = Replication(replicas=1, needed=needed)
        with BenchTestbed(tmp_path / f"s{needed}", keyring, [TRUSTED], replication=replication) as testbed:
            with SigmillFlow(testbed, TRUSTED.name, in_envelopes(64)) as flow:
                assert flow.round(0.2).signatures >= 64
            assert testbed.redis.info("replication")["connected_slaves"] == 1
            waits[needed] = testbed.redis.info("commandstats").get("cmdstat_wait", {}).get("calls", 0)
    assert waits[0] == 0
    assert waits[1] > 0
