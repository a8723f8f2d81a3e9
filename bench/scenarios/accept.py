"""Accept levels in turn: the same tenant, keys and number of replicas, and writes that wait for none, one or two of them.

Redis and its replicas share the cores of workers, lanes and clients, and are as near as processes can be: what a level costs here is
its work, and not the time to a replica in another place.
"""

from __future__ import annotations

import contextlib
import statistics
from typing import TYPE_CHECKING, Final

from bench.alternation import against, alternate
from bench.load.flows import SigmillFlow, in_envelopes, load_process, paced_p50_ms
from bench.measurement.machine import load_average
from bench.report.data import at_least, at_most
from bench.testbed.config_files import BenchTenant
from bench.testbed.replicas import Replication
from queueing.protocol.algorithms import KeyKind

if TYPE_CHECKING:
    from bench.session import Session
    from bench.testbed.testbed import BenchTestbed

REPLICAS: Final = 2
LOCAL: Final = "local"
NEEDED: Final = {LOCAL: 0, "replicated, 1 of 2": 1, "replicated, 2 of 2": 2}
SHARES: Final = {64: 0.8, 1: 0.7}
"""Of the throughput under ``local``, by digests in an envelope."""

MORE_P50_MS: Final = 5.0
_IDLE_ROUNDS: Final = 4
_CLIENTS_OF_SINGLES: Final = 16


def accept(session: Session) -> None:
    """Throughput at 64 to an envelope and at one, then one digest at idle."""
    tenant = BenchTenant(name="p256", kind=KeyKind.P256, verify_after_sign=False)
    with contextlib.ExitStack() as stack:
        testbeds = {
            level: stack.enter_context(
                session.testbed([tenant], replication=Replication(replicas=REPLICAS, needed=needed))
            )
            for level, needed in NEEDED.items()
        }
        for size in SHARES:
            _throughput(session, testbeds, tenant, size)
        _idle(session, testbeds, tenant)


def _throughput(session: Session, testbeds: dict[str, BenchTestbed], tenant: BenchTenant, size: int) -> None:
    order = in_envelopes(size, clients=1 if size > 1 else _CLIENTS_OF_SINGLES)
    with contextlib.ExitStack() as stack:
        flows = {
            level: stack.enter_context(SigmillFlow(testbed, tenant.name, order))
            for level, testbed in testbeds.items()
        }
        found = alternate(flows, None, rounds=session.pace.rounds, seconds=session.pace.seconds)
    local = found.pop(LOCAL)
    for level, course in found.items():
        note = (
            f"{course.per_s:,.0f}/s, {local.per_s:,.0f}/s under local; CPU of the primary {course.cpu.redis:,.1f} us a signature,"
            f" {local.cpu.redis:,.1f} under local; {load_average()}"
        )
        name = f"accept: throughput at {size} an envelope under {level}, share of that under local"
        session.threshold(at_least(name, against(course, local), SHARES[size], note=note))
        session.say(f"  {note}")


def _idle(session: Session, testbeds: dict[str, BenchTestbed], tenant: BenchTenant) -> None:
    count = 400 if session.pace.wide else 100
    with contextlib.ExitStack() as stack:
        loads = {
            level: stack.enter_context(load_process(testbed, tenant)) for level, testbed in testbeds.items()
        }
        for load in loads.values():
            paced_p50_ms(load, 50)
        rounds = [
            {level: paced_p50_ms(load, count) for level, load in loads.items()} for _ in range(_IDLE_ROUNDS)
        ]
    local_ms = statistics.median(each[LOCAL] for each in rounds)
    for level in NEEDED:
        if level == LOCAL:
            continue
        more_ms = statistics.median(each[level] - each[LOCAL] for each in rounds)
        name = f"accept: one digest at idle under {level}, p50 beyond that under local"
        note = f"{local_ms:.1f} ms under local; {load_average()}"
        session.threshold(at_most(name, more_ms, MORE_P50_MS, unit="ms", note=note))
