"""Throughput of the whole way of a digest against the module's ceiling, in alternating rounds."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from bench.alternation import Course, alternate
from bench.ceiling.measure import Ceiling
from bench.load.flows import SigmillFlow, in_envelopes
from bench.report.data import Row, at_least, at_most, share_at_least
from bench.session import Pace, Session
from bench.testbed.config_files import BenchTenant
from queueing.protocol.algorithms import KeyKind

RSA_BOUNDS = {KeyKind.RSA_2048: 0.88, KeyKind.RSA_3072: 0.93, KeyKind.RSA_4096: 0.93}
P256_BOUND = 0.70
WITHOUT_LANES_US = 10.0
ROUND_TRIPS_PER_SIGNATURE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One row of throughput."""

    kind: KeyKind
    size: int
    verify: bool

    @property
    def tenant(self) -> BenchTenant:
        """A tenant for it; cases of one kind and verification share it."""
        verification = "on" if self.verify else "off"
        name = f"{str(self.kind).lower().replace('_', '-')}-{verification}"
        return BenchTenant(name=name, kind=self.kind, verify_after_sign=self.verify)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredRow:
    """A row of the report, and what has no column there."""

    row: Row
    round_trips_per_signature: float


def measure(
    session: Session,
    cases: list[Case],
    *,
    verifying_ceiling: bool = False,
    bound: float | None = None,
    pace: Pace | None = None,
) -> list[MeasuredRow]:
    """The cases, all of one kind of key, in alternating rounds with one ceiling."""
    kind = cases[0].kind
    pace = pace or (session.pace.slow() if kind in RSA_BOUNDS else session.pace)
    tenants = {case.tenant.name: case.tenant for case in cases}
    with contextlib.ExitStack() as stack:
        testbed = stack.enter_context(session.testbed(list(tenants.values())))
        flows = {
            str(number): stack.enter_context(SigmillFlow(testbed, case.tenant.name, in_envelopes(case.size)))
            for number, case in enumerate(cases)
        }
        ceiling = stack.enter_context(
            session.ceiling(kind, verify=verifying_ceiling, seconds=pace.ceiling_seconds)
        )
        courses = alternate(
            flows, ceiling, rounds=pace.rounds, seconds=pace.seconds, ceiling_seconds=pace.ceiling_seconds
        )
        best = ceiling.result(verify=verifying_ceiling)
    rows = []
    for case, course in zip(cases, courses.values(), strict=True):
        row = session.row(
            "verify-after-sign" if case.verify else "end to end",
            kind,
            case.size,
            course,
            verified=case.verify,
            bound=bound,
            note=f"{_by_cpu(best, course)}; {course.round_trips_per_signature:.3f} Redis round trips per signature",
        )
        session.say(f"  {row.note}")
        rows.append(MeasuredRow(row=row, round_trips_per_signature=course.round_trips_per_signature))
    return rows


def rsa(session: Session, kind: KeyKind) -> None:
    """RSA, 64 to an envelope, verify-after-sign on."""
    bound = RSA_BOUNDS[kind]
    (measured,) = measure(session, [Case(kind=kind, size=64, verify=True)], bound=bound)
    name = f"{kind}, 64 per envelope, verify-after-sign on: share of the module ceiling"
    session.threshold(share_at_least(name, measured.row.share_of_ceiling, bound, note=measured.row.note))


def p256(session: Session) -> None:
    """P-256 without verify-after-sign, 256 and 64 to an envelope: the share, and what it costs beside the lanes."""
    cases = [Case(kind=KeyKind.P256, size=size, verify=False) for size in (256, 64)]
    full, usual = measure(session, cases, bound=P256_BOUND)
    name = "P-256, 256 per envelope, verify off: share of the module ceiling"
    session.threshold(share_at_least(name, full.row.share_of_ceiling, P256_BOUND, note=full.row.note))
    cpu = usual.row.cpu_us_per_signature
    name = "P-256, 64 per envelope: client, Redis and worker CPU per signature"
    session.threshold(at_most(name, cpu.client + cpu.redis + cpu.worker, WITHOUT_LANES_US, unit="us"))
    name = "P-256, 64 per envelope: Redis round trips per signature"
    session.threshold(at_most(name, usual.round_trips_per_signature, ROUND_TRIPS_PER_SIGNATURE))


def p256_verified(session: Session) -> None:
    """P-256 with verify-after-sign, 256 to an envelope, against a C loop that verifies too."""
    cases = [Case(kind=KeyKind.P256, size=256, verify=True)]
    (measured,) = measure(session, cases, verifying_ceiling=True, bound=P256_BOUND)
    name = "P-256, 256 per envelope, verify on: share of a C loop that signs and verifies"
    # may exceed 1: SoftHSM's C_Verify takes longer than the lane's own verification
    session.threshold(at_least(name, measured.row.share_of_ceiling, P256_BOUND, note=measured.row.note))


def _by_cpu(ceiling: Ceiling, course: Course) -> str:
    """Settings at which the ceiling was found, and the share by CPU time alone (no core ever idle).

    It does not see waiting, but other users of the machine do not move it either.
    """
    best = max(ceiling.probes, key=lambda probe: probe.median_per_s)
    share = best.cpu_us_per_signature / course.cpu.total
    return f"ceiling: {ceiling.at}, {best.cpu_us_per_signature:,.1f} us of CPU each; share by CPU alone: {share:.0%}"
