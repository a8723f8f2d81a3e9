"""Tenants beside each other: how exactly a rate is kept, what a noisy neighbour costs, how equal the shares are."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from typing import TYPE_CHECKING, Final

from bench.load.flows import load_process
from bench.load.messages import Arrivals, Endless, Rest
from bench.load.supervisor import ORDER_TIMEOUT_S
from bench.queue.rate_accuracy import admitted
from bench.report.data import LatencyPoint, at_least, at_most
from bench.testbed.config_files import SHARED_OPERATIONS, BenchTenant, SimTimes
from queueing.config.redis import RedisConfig
from queueing.protocol.algorithms import KeyKind
from workers.dev.redis_server import RedisServer

if TYPE_CHECKING:
    from bench.load.arrivals import OpenLoopResult
    from bench.load.supervisor import LoadProcess
    from bench.session import Session

WORKERS: Final = 4
RATE_ERROR: Final = 0.02
P99_RATIO: Final = 2.0
JAIN: Final = 0.95
SIGN_US: Final = 2000
LOUD_SIZE: Final = 64
QUIET_SIZE: Final = 4
QUIET_PER_S: Final = 15.0
"""Requests: 60 digests a second of the 8,000 that the device makes; the loud tenant offers more than all of them."""
EQUALS: Final = 4
SETTLE_S: Final = 2.0
SEED: Final = 20261124

_SIGNED: Final = re.compile(r'^sigmill_signatures_total\{.*tenant="([^"]+)".*\} (\S+)$', re.MULTILINE)


def rate(session: Session) -> None:
    """Four claimers of one limited tenant, for a minute."""
    seconds = 60.0 if session.pace.wide else 10.0
    folder = session.directory / "rate"
    folder.mkdir()
    server = RedisServer(folder / "redis", folder)
    try:
        place = RedisConfig(unix_socket=str(server.socket), password_file=str(server.password_file))
        found = asyncio.run(admitted(place, seconds=seconds, workers=WORKERS))
    finally:
        server.stop()
    session.say(
        f"admitted {found.ratio:.2%} of the limit in {seconds:.0f} s, {found.claims / seconds:.0f} claims/s"
    )
    name = f"tenancy: admitted rate against the limit, {WORKERS} workers, {seconds:.0f} s: error"
    session.threshold(at_most(name, abs(found.ratio - 1), RATE_ERROR))


def noisy_neighbour(session: Session) -> None:
    """A quiet tenant alone on a shared HSM, and beside one that offers more than all of it."""
    quiet, loud = _tenant("quiet"), _tenant("loud")
    seconds = 20.0 if session.pace.wide else 10.0
    order = Arrivals(requests_per_s=QUIET_PER_S, seconds=seconds, size=QUIET_SIZE, seed=SEED)
    with contextlib.ExitStack() as stack:
        testbed = stack.enter_context(session.testbed([quiet, loud]))
        quiet_load = stack.enter_context(load_process(testbed, quiet))
        loud_load = stack.enter_context(load_process(testbed, loud))
        _open_loop(
            quiet_load, Arrivals(requests_per_s=QUIET_PER_S, seconds=SETTLE_S, size=QUIET_SIZE, seed=1)
        )
        solo = _open_loop(quiet_load, order)
        loud_load.order(Endless(size=LOUD_SIZE))
        loud_load.answer()
        time.sleep(SETTLE_S)
        beside = _open_loop(quiet_load, order)
        loud_load.order(Rest())
        loud_load.answer(ORDER_TIMEOUT_S)
    for scenario, result in (("alone", solo), ("beside a noisy neighbour", beside)):
        session.found.latency.append(
            LatencyPoint(
                scenario=f"tenancy: shared HSM of {SHARED_OPERATIONS}, {scenario}",
                algorithm=str(quiet.algorithm),
                load_share=0.0,
                offered_per_s=QUIET_SIZE * result.offered_per_s,
                answered_per_s=QUIET_SIZE * result.answered_per_s,
                latency=result.latency,
                start_lag_max_ms=result.start_lag_max_ms,
            )
        )
        session.say(f"{scenario}: p50 {result.latency.p50_ms:.1f} ms, p99 {result.latency.p99_ms:.1f} ms")
    name = "tenancy: p99 beside a tenant that offers 100 times its share, times p99 alone"
    session.threshold(at_most(name, beside.latency.p99_ms / solo.latency.p99_ms, P99_RATIO))


def equal_shares(session: Session) -> None:
    """Four tenants on one HSM, each with more work than it can do: Jain's index over what was signed."""
    tenants = [_tenant(f"equal-{number}") for number in range(EQUALS)]
    seconds = 10.0 if session.pace.wide else 5.0
    with contextlib.ExitStack() as stack:
        testbed = stack.enter_context(session.testbed(tenants))
        loads = [stack.enter_context(load_process(testbed, tenant)) for tenant in tenants]
        for load in loads:
            load.order(Endless(size=LOUD_SIZE))
            load.answer()
        time.sleep(SETTLE_S)
        before = _signed(testbed.metrics())
        time.sleep(seconds)
        after = _signed(testbed.metrics())
        for load in loads:
            load.order(Rest())
            load.answer(ORDER_TIMEOUT_S)
    counts = [after[tenant.name] - before.get(tenant.name, 0.0) for tenant in tenants]
    session.say(f"signed: {', '.join(f'{count:,.0f}' for count in counts)}")
    name = f"tenancy: Jain's index over {EQUALS} backlogged equal tenants on one HSM"
    session.threshold(at_least(name, jain(counts), JAIN))


def jain(values: list[float]) -> float:
    """Jain's fairness index: 1 where all are equal, 1/n where one has everything."""
    squares = sum(value * value for value in values)
    return sum(values) ** 2 / (len(values) * squares) if squares else 0.0


def _tenant(name: str) -> BenchTenant:
    """A token with eight sessions in four lanes, on the shared device."""
    return BenchTenant(
        name=name,
        kind=KeyKind.P256,
        verify_after_sign=False,
        sessions=8,
        lanes=4,
        simulated=SimTimes(sign_us=SIGN_US),
        shares_hsm=True,
    )


def _open_loop(load: LoadProcess, order: Arrivals) -> OpenLoopResult:
    load.order(order)
    result = load.answer(ORDER_TIMEOUT_S).open_loop
    assert result is not None
    return result


def _signed(metrics: str) -> dict[str, float]:
    counts: dict[str, float] = {}
    for tenant, value in _SIGNED.findall(metrics):
        counts[tenant] = counts.get(tenant, 0.0) + float(value)
    return counts
