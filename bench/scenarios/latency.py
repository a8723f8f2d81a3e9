"""Latency: of one digest at idle, and under open-loop load at parts of the measured capacity."""

from __future__ import annotations

import contextlib
from typing import Final

from bench.load.flows import SigmillFlow, in_envelopes, load_process
from bench.load.messages import Arrivals, Paced
from bench.load.supervisor import ORDER_TIMEOUT_S
from bench.report.data import LatencyPoint, at_most
from bench.session import Session
from bench.testbed.config_files import BenchTenant
from queueing.protocol.algorithms import KeyKind

IDLE_PAUSE_S: Final = 0.02
IDLE_P50_MS: Final = 5.0
IDLE_P99_MS: Final = 8.0
LOADS: Final = (0.3, 0.6, 0.9)
SIZE: Final = 64
SEED: Final = 20261123


def idle(session: Session) -> None:
    """One P-256 digest at a time, with pauses, as a user has it: verify-after-sign on."""
    tenant = BenchTenant(name="p256-on", kind=KeyKind.P256)
    count = 1500 if session.pace.wide else 400
    with session.testbed([tenant]) as testbed, load_process(testbed, tenant) as load:
        load.order(Paced(digests=50, pause_s=0.0))
        load.answer()
        load.order(Paced(digests=count, pause_s=IDLE_PAUSE_S))
        done = load.answer()
    found = done.latency
    assert found is not None
    session.found.latency.append(
        LatencyPoint(
            scenario="one digest at idle",
            algorithm=str(tenant.algorithm),
            load_share=0.0,
            offered_per_s=count / done.seconds,
            answered_per_s=count / done.seconds,
            latency=found,
        )
    )
    session.threshold(at_most("idle: one P-256 digest, p50", found.p50_ms, IDLE_P50_MS, unit="ms"))
    session.threshold(at_most("idle: one P-256 digest, p99", found.p99_ms, IDLE_P99_MS, unit="ms"))


def open_loop(session: Session) -> None:
    """Envelopes of 64 at random times, at 30, 60 and 90 % of what the same testbed just reached."""
    kinds = (KeyKind.P256, KeyKind.RSA_3072) if session.pace.wide else (KeyKind.P256,)
    tenants = [BenchTenant(name=f"t{number}", kind=kind) for number, kind in enumerate(kinds)]
    with session.testbed(tenants) as testbed:
        for tenant in tenants:
            with contextlib.ExitStack() as stack:
                flow = stack.enter_context(SigmillFlow(testbed, tenant.name, in_envelopes(SIZE)))
                load = stack.enter_context(load_process(testbed, tenant))
                seconds = 2 * session.pace.seconds
                for share in LOADS:
                    capacity_per_s = flow.round(session.pace.seconds).per_s
                    order = Arrivals(
                        requests_per_s=share * capacity_per_s / SIZE, seconds=seconds, size=SIZE, seed=SEED
                    )
                    load.order(order)
                    result = load.answer(ORDER_TIMEOUT_S).open_loop
                    assert result is not None
                    point = LatencyPoint(
                        scenario=f"envelopes of {SIZE}, {tenant.kind}",
                        algorithm=str(tenant.algorithm),
                        load_share=share,
                        offered_per_s=SIZE * result.offered_per_s,
                        answered_per_s=SIZE * result.answered_per_s,
                        latency=result.latency,
                        start_lag_max_ms=result.start_lag_max_ms,
                    )
                    session.found.latency.append(point)
                    session.say(_in_a_line(point))


def _in_a_line(point: LatencyPoint) -> str:
    found = point.latency
    return (
        f"{point.scenario} at {point.load_share:.0%} ({point.offered_per_s:,.0f} digests/s):"
        f" p50 {found.p50_ms:.1f} ms, p99 {found.p99_ms:.1f}, p99.9 {found.p999_ms:.1f}, max {found.max_ms:.1f}"
    )
