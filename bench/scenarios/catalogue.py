"""The scenarios by name; quick and full run them in this order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from bench.scenarios import (
    accept,
    build,
    first_second,
    grants,
    growth,
    latency,
    matrix,
    record,
    rubbish,
    simulated,
    singles,
    tenancy,
    throughput,
)
from bench.scenarios.edge import handler, issuer, relay
from bench.scenarios.orders import stop_orders
from bench.session import Session
from queueing.protocol.algorithms import KeyKind

Scenario = Callable[[Session], None]

SCENARIOS: Final[Mapping[str, Scenario]] = {
    "rsa-3072": partial(throughput.rsa, kind=KeyKind.RSA_3072),
    "rsa-4096": partial(throughput.rsa, kind=KeyKind.RSA_4096),
    "rsa-2048": partial(throughput.rsa, kind=KeyKind.RSA_2048),
    "p256": throughput.p256,
    "p256-verified": throughput.p256_verified,
    "singles": singles.singles,
    "simulated": simulated.simulated,
    "idle": latency.idle,
    "claims": growth.claims,
    "memory": growth.memory,
    "grants": grants.grants,
    "build": build.build,
    "open-loop": latency.open_loop,
    "tenancy-rate": tenancy.rate,
    "tenancy-noisy": tenancy.noisy_neighbour,
    "tenancy-shares": tenancy.equal_shares,
    "rubbish": rubbish.rubbish,
    "record": record.record,
    "relay": relay.relay,
    "issuer": issuer.issuer,
    "first-second": first_second.first_second,
    "accept": accept.accept,
    "handler": handler.handler,
    "matrix": matrix.matrix,
    "simulated-grid": simulated.simulated_grid,
    "workers": growth.more_workers,
    "reload": growth.reload,
    "stop-orders": stop_orders.stop_orders,
}
QUICK_ONES: Final = tuple(SCENARIOS)[:20]
"""What evaluates a threshold of speed or cost, and two rows that a reader looks for first."""
