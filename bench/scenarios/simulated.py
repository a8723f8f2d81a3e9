"""A simulated network HSM that answers at once or takes its time: what worker and lanes drive, and at what cost.

The answers are canned: the device costs no CPU, so all that is measured is Sigmill, python-pkcs11 and Redis.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Final

from bench.alternation import Course, alternate
from bench.load.flows import SigmillFlow, in_envelopes
from bench.report.data import Growth, GrowthPoint, at_least, at_most
from bench.session import Session
from bench.testbed.config_files import BenchTenant, SimTimes
from queueing.protocol.algorithms import KeyKind

SIZE: Final = 64
SESSIONS: Final = (8, 16, 32, 64, 128, 256)
SIGN_MS: Final = (0, 1, 3, 10)
BOUND_SESSIONS: Final = 64
LEAST_PER_S: Final = 15_000.0
MOST_CPU_US: Final = 110.0


def simulated(session: Session) -> None:
    """1 ms in C_Sign alone with 64 sessions, and 1 ms in each call of a signature, which are two."""
    sign_only = _tenant(SimTimes(sign_us=1000), BOUND_SESSIONS)
    all_three = _tenant(SimTimes(sign_us=1000, signinit_us=1000, length_us=1000), BOUND_SESSIONS)
    courses = _measure(session, [sign_only, all_three])
    course = courses[sign_only.name]
    name = f"simulated HSM, 1 ms in C_Sign, {BOUND_SESSIONS} sessions: signatures/s"
    session.threshold(at_least(name, course.per_s, LEAST_PER_S))
    name = f"simulated HSM, 1 ms in C_Sign, {BOUND_SESSIONS} sessions: CPU per signature, everything"
    session.threshold(at_most(name, course.cpu.total, MOST_CPU_US, unit="us"))


def simulated_grid(session: Session) -> None:
    """Every latency with every number of sessions."""
    for milliseconds in SIGN_MS:
        tenants = [_tenant(SimTimes(sign_us=1000 * milliseconds), sessions) for sessions in SESSIONS]
        courses = _measure(session, tenants)
        label = f"{milliseconds} ms"
        rates = [GrowthPoint(x=t.sessions or 0, y=courses[t.name].per_s) for t in tenants]
        costs = [GrowthPoint(x=t.sessions or 0, y=courses[t.name].cpu.total) for t in tenants]
        session.found.growth += [
            _line("Simulated network HSM: signatures/s", label, "signatures/s", rates),
            _line("Simulated network HSM: CPU per signature", label, "us, everything", costs),
        ]


def _measure(session: Session, tenants: Sequence[BenchTenant]) -> dict[str, Course]:
    pace = session.pace
    with contextlib.ExitStack() as stack:
        testbed = stack.enter_context(session.testbed(tenants))
        # The results of minutes at such rates are more than the testbed's gigabyte, and Redis would refuse further jobs.
        testbed.redis.do(lambda redis: redis.config_set("maxmemory", "0"))
        flows = {
            tenant.name: stack.enter_context(SigmillFlow(testbed, tenant.name, in_envelopes(SIZE)))
            for tenant in tenants
        }
        courses = alternate(flows, None, rounds=pace.rounds, seconds=pace.seconds)
    for tenant in tenants:
        session.row(
            f"simulated HSM, {_times(tenant)}, {tenant.sessions} sessions",
            KeyKind.P256,
            SIZE,
            courses[tenant.name],
            verified=False,
            note="canned answers: no module limits this row",
        )
    return courses


def _tenant(times: SimTimes, sessions: int) -> BenchTenant:
    name = f"sim-{times.signinit_us}-{times.sign_us}-{sessions}"
    return BenchTenant(
        name=name, kind=KeyKind.P256, verify_after_sign=False, sessions=sessions, simulated=times
    )


def _times(tenant: BenchTenant) -> str:
    times = tenant.simulated
    assert times is not None
    calls = "each call" if times.signinit_us else "C_Sign"
    return f"{times.sign_us / 1000:g} ms in {calls}"


def _line(plot: str, series: str, y_label: str, points: list[GrowthPoint]) -> Growth:
    return Growth(plot=plot, series=series, x_label="sessions", y_label=y_label, points=points)
