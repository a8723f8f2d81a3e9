"""The relay beside a plain HTTPS handler that signs in a thread pool: batches of 64, single digests, and one alone.

The handler has no queue, no limits, no log, no verification, and one process that a crash of the module ends. The ratios say
what those cost to a user who could do without them.
"""

from __future__ import annotations

import contextlib
import statistics
from typing import TYPE_CHECKING, Final

from bench.alternation import against, alternate
from bench.baseline.handler.flow import Handler, HandlerFlow
from bench.load.flows import SigmillFlow, coalesced, in_envelopes, load_process, paced_p50_ms
from bench.scenarios.edge.relay import relay_beside
from bench.testbed.config_files import BenchTenant
from queueing.protocol.algorithms import KeyKind
from workers.dev.worker_process import free_ports

if TYPE_CHECKING:
    from bench.load.supervisor import LoadProcess
    from bench.session import Session

BATCH: Final = 64
CLIENTS: Final = 16
CALLERS: Final = 64
"""Callers that share one client: as many as the handler's client has requests under way."""

_IDLE_ROUNDS: Final = 4


def handler(session: Session) -> None:
    """P-256, verification off: throughput in alternating rounds, then the latency of one digest at idle."""
    kind, pace = KeyKind.P256, session.pace
    tenant = BenchTenant(name="p256-off", kind=kind, verify_after_sign=False)
    with contextlib.ExitStack() as stack:
        testbed = stack.enter_context(session.testbed([tenant]))
        _, files = stack.enter_context(relay_beside(testbed, tenant))
        (port,) = free_ports(1)
        place, logs = testbed.directory / "handler", testbed.directory / "logs"
        peer = stack.enter_context(Handler(place, session.keyring[kind], port=port, logs=logs))
        ours = {
            "relay, batches": SigmillFlow(testbed, tenant.name, in_envelopes(BATCH), files=files),
            "relay, single digests": SigmillFlow(
                testbed, tenant.name, in_envelopes(1, clients=CLIENTS), files=files
            ),
            "relay, sign() of one client": SigmillFlow(testbed, tenant.name, coalesced(CALLERS), files=files),
        }
        theirs = {
            "handler, batches": HandlerFlow(peer, BATCH),
            "handler, single digests": HandlerFlow(peer, 1),
        }
        for flow in ours.values():
            stack.enter_context(flow)
        for each in theirs.values():
            each.warm_up()
        courses = alternate({**ours, **theirs}, None, rounds=pace.rounds, seconds=pace.seconds)
        for name, course in courses.items():
            session.row(f"HTTPS: {name}", kind, BATCH if "batches" in name else 1, course, verified=False)
        single = courses["handler, single digests"]
        ratios = (
            against(courses["relay, batches"], courses["handler, batches"]),
            against(courses["relay, single digests"], single),
            against(courses["relay, sign() of one client"], single),
        )
        by_relay = stack.enter_context(load_process(testbed, tenant, 1, files=files))
        relayed_ms, handler_ms = _idle_p50_ms(by_relay, peer.load, 400 if pace.wide else 100)
    text = (
        f"Through HTTPS, Sigmill's relay signs {ratios[0]:.2f} times as many P-256 digests in batches of {BATCH} as a plain"
        f" handler with a thread pool; single digests of {CLIENTS} clients {ratios[1]:.2f} times, and of {CALLERS} callers that"
        f" share a client {ratios[2]:.2f} times. One digest at idle takes {relayed_ms:.1f} ms (p50), the handler"
        f" {handler_ms:.1f} ms."
    )
    session.note(text)
    session.say(f"  {text}")


def _idle_p50_ms(relay: LoadProcess, plain: LoadProcess, count: int) -> tuple[float, float]:
    """Median latency of one digest at idle, of both sides in turn."""
    sides: tuple[list[float], list[float]] = ([], [])
    for load in (relay, plain):
        paced_p50_ms(load, 50)
    for _ in range(_IDLE_ROUNDS):
        for found, load in zip(sides, (relay, plain), strict=True):
            found.append(paced_p50_ms(load, count))
    return statistics.median(sides[0]), statistics.median(sides[1])
