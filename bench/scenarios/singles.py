"""Many small clients that submit single digests, independent of each other or sharing a client, and stock arq."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from typing import Final

from bench.alternation import Course, against, alternate
from bench.baseline.flow import ArqFlow
from bench.load.flows import SigmillFlow, coalesced, in_envelopes
from bench.report.data import at_least, share_at_least
from bench.session import Session
from bench.testbed.config_files import BenchTenant
from queueing.ed25519 import load_libsodium
from queueing.protocol.algorithms import KeyKind
from queueing.protocol.client_keys import ClientKey, ClientPublicKey

INDEPENDENT_CLIENTS: Final = 16
CALLERS: Final = 4096
AGAINST_ARQ: Final = 8.0
COALESCED_BOUND: Final = 0.60
ENVELOPE_BYTES: Final = 260  # the signed part of an envelope of one digest
REPEATS: Final = 2_000


def _arithmetic(courses: Mapping[str, Course]) -> str:
    """Upper bound of this machine with one envelope per digest and a queue that costs nothing."""
    seal_us, verify_us = envelope_us()
    ceiling, arq = courses["independent"].ceiling_per_s or 0.0, courses["stock arq"].per_s
    cores = len(os.sched_getaffinity(0))
    sign_us = 1e6 * cores / ceiling
    most_per_s = 1e6 * cores / (seal_us + verify_us + sign_us)
    return (
        f"One envelope per digest costs, whatever the queue does: {seal_us:.0f} us to seal it (Ed25519, client),"
        f" {verify_us:.0f} us to verify that (lane), {sign_us:.0f} us to sign (module): at most"
        f" {most_per_s:,.0f}/s on {cores} cores, which is {most_per_s / arq:.1f} times stock arq's {arq:,.0f}/s"
        f" ({courses['stock arq'].cpu.total:.0f} us of CPU per job)."
    )


def envelope_us() -> tuple[float, float]:
    """CPU microseconds to seal an envelope of one digest, and to verify it, as client and lane do it."""
    private, message = ClientKey.generate(), os.urandom(ENVELOPE_BYTES)
    public, signature = ClientPublicKey.from_spki(private.public_spki), private.sign_envelope(message)
    load_libsodium()
    began = time.process_time()
    for _ in range(REPEATS):
        private.sign_envelope(message)
    sealed = time.process_time()
    for _ in range(REPEATS):
        public.verify_envelope(message, signature)
    return 1e6 * (sealed - began) / REPEATS, 1e6 * (time.process_time() - sealed) / REPEATS


def singles(session: Session) -> None:
    """P-256, single digests, four ways in alternating rounds."""
    kind, pace = KeyKind.P256, session.pace
    tenant = BenchTenant(name="p256-off", kind=kind, verify_after_sign=False)
    with contextlib.ExitStack() as stack:
        testbed = stack.enter_context(session.testbed([tenant]))
        ours = {
            "independent": SigmillFlow(testbed, tenant.name, in_envelopes(1, clients=INDEPENDENT_CLIENTS)),
            "coalescing": SigmillFlow(testbed, tenant.name, coalesced(CALLERS)),
        }
        for flow in ours.values():
            stack.enter_context(flow)
        baseline = stack.enter_context(ArqFlow(testbed, session.keyring[kind]))
        ceiling = stack.enter_context(session.ceiling(kind))
        courses = alternate(
            {**ours, "stock arq": baseline},
            ceiling,
            rounds=pace.rounds,
            seconds=pace.seconds,
            ceiling_seconds=pace.ceiling_seconds,
        )
    notes = {
        "independent": f"{INDEPENDENT_CLIENTS} clients with connections of their own, an envelope per digest",
        "coalescing": f"{CALLERS} concurrent sign() calls share one client",
        "stock arq": "one digest per job, one worker, signing in its process",
    }
    for name, course in courses.items():
        bound = COALESCED_BOUND if name == "coalescing" else None
        session.row(f"single digests, {name}", kind, 1, course, verified=False, bound=bound, note=notes[name])
    ratio = against(courses["independent"], courses["stock arq"])
    arithmetic = _arithmetic(courses)
    session.note(arithmetic)
    name = "P-256, one digest per envelope, independent clients: times stock arq"
    session.threshold(at_least(name, ratio, AGAINST_ARQ, note=arithmetic))
    name = "P-256, single digests of clients that coalesce: share of the module ceiling"
    session.threshold(share_at_least(name, courses["coalescing"].share, COALESCED_BOUND))
