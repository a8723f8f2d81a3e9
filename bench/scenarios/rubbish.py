"""A neighbour beside floods of jobs that no client has signed, a kind at a time.

The neighbour's device is its limit: it uses a part of a core, so that what it loses is what the flood costs Redis and the
worker, and not that the flood is made on the same cores. Each round with a flood stands between two without.
"""

from __future__ import annotations

import contextlib
import re
import statistics
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from bench.load.flows import SigmillFlow, in_envelopes
from bench.load.messages import Flood, Rest
from bench.load.rubbish import KINDS
from bench.load.supervisor import LoadProcess
from bench.report.data import at_least, at_most
from bench.testbed.config_files import BenchTenant, SimTimes
from queueing.protocol.algorithms import KeyKind
from workers.dev.tenants import AUDIENCE

if TYPE_CHECKING:
    from bench.session import Session
    from bench.testbed.testbed import BenchTestbed

SHARE: Final = 0.9
"""Of its throughput without a flood."""

SIZE: Final = 64
SIGN_US: Final = 8000
SESSIONS: Final = 8
"""1,000 signatures/s: a network HSM that makes RSA."""

FIRST_S: Final = 1.0
"""From the first flood of a kind to its first round: until the worker knows that envelopes of the tenant are forged, some
reach a lane and the log."""

LATER_S: Final = 0.2

NEIGHBOUR: Final = BenchTenant(
    name="neighbour",
    kind=KeyKind.P256,
    verify_after_sign=False,
    sessions=SESSIONS,
    lanes=1,
    simulated=SimTimes(sign_us=SIGN_US),
)
FLOODED: Final = BenchTenant(
    name="flooded", kind=KeyKind.P256, sessions=SESSIONS, lanes=1, simulated=SimTimes(sign_us=SIGN_US)
)

_LOG_BYTES: Final = re.compile(
    rf'^sigmill_log_written_bytes_total\{{.*tenant="{FLOODED.name}".*\}} (\S+)$', re.MULTILINE
)
_REFUSED: Final = re.compile(
    rf'^sigmill_unauthenticated_jobs_total\{{.*tenant="{FLOODED.name}".*\}} (\S+)$', re.MULTILINE
)


@dataclass(slots=True)
class Floods:
    """Rounds of one kind: shares of the neighbour's own throughput, bytes in the log, refused jobs a second."""

    shares: list[float] = field(default_factory=list)
    log_bytes: list[float] = field(default_factory=list)
    refused_per_s: list[float] = field(default_factory=list)


def rubbish(session: Session) -> None:
    """Each kind in turn, a round of it between two rounds without."""
    rounds = 5 if session.pace.wide else 2
    found = {kind: Floods() for kind in KINDS}
    with contextlib.ExitStack() as stack:
        testbed = stack.enter_context(session.testbed([NEIGHBOUR, FLOODED]))
        flow = stack.enter_context(SigmillFlow(testbed, NEIGHBOUR.name, in_envelopes(SIZE)))
        flood = stack.enter_context(flood_process(testbed, FLOODED))
        alone_per_s = flow.round(session.pace.seconds).per_s
        for _ in range(rounds):
            for kind, floods in found.items():
                beside_per_s = _beside(testbed, flow, flood, kind, floods, session.pace.seconds)
                before_per_s, alone_per_s = alone_per_s, flow.round(session.pace.seconds).per_s
                floods.shares.append(beside_per_s / statistics.mean((before_per_s, alone_per_s)))
    session.say(f"the neighbour alone: {alone_per_s:,.0f}/s")
    for kind, floods in found.items():
        _report(session, kind, floods)
    log_bytes = sum(max(floods.log_bytes) for floods in found.values())
    session.threshold(
        at_most("rubbish: log written for jobs that no client signed", log_bytes, 0.0, unit="bytes")
    )


def _beside(
    testbed: BenchTestbed, flow: SigmillFlow, flood: LoadProcess, kind: str, floods: Floods, seconds: float
) -> float:
    """The neighbour's throughput beside one flood."""
    flood.order(Flood(kind=kind))
    flood.answer()
    try:
        time.sleep(LATER_S if floods.shares else FIRST_S)
        log_bytes, refused, began = *_counters(testbed), time.monotonic()
        measured = flow.round(seconds)
        log_bytes_after, refused_after = _counters(testbed)
    finally:
        flood.order(Rest())
        flood.answer()
    floods.log_bytes.append(log_bytes_after - log_bytes)
    floods.refused_per_s.append((refused_after - refused) / (time.monotonic() - began))
    return measured.per_s


def _report(session: Session, kind: str, floods: Floods) -> None:
    per_s = statistics.median(floods.refused_per_s)
    note = f"{per_s:,.0f} jobs of the flood refused a second"
    share = statistics.median(floods.shares)
    name = f"rubbish: neighbour beside {kind}, share of its throughput without"
    session.threshold(at_least(name, share, SHARE, note=note))
    session.say(f"    {note}")


def _counters(testbed: BenchTestbed) -> tuple[float, float]:
    """Bytes that jobs of the flooded tenant have added to the log, and its refused jobs."""
    page = testbed.metrics()
    return sum(map(float, _LOG_BYTES.findall(page))), sum(map(float, _REFUSED.findall(page)))


def flood_process(testbed: BenchTestbed, tenant: BenchTenant) -> LoadProcess:
    """A process that writes to the queue of this tenant."""
    command = [
        "-m", "bench.load.flood_process",
        "--socket", str(testbed.server.socket),
        "--password-file", str(testbed.server.password_file),
        "--tenant", tenant.name,
        "--audience", AUDIENCE,
        "--algorithm", str(tenant.algorithm),
    ]  # fmt: skip
    return LoadProcess(command, testbed.directory / "logs" / f"flood-{tenant.name}.log")
