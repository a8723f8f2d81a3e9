"""The day on a list of machines, side by side: devices by their published rates, hosts by the CPU that this run took. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from bench.capacity.hsm_rates import MODELS, hsm_rate
from bench.capacity.model import Costs, Demand, Headroom, Plan, plan
from bench.report.data import number
from queueing.protocol.algorithms import KeyKind

HOST_CORES: Final = (2, 4, 8, 16, 32)
SPARE_HOSTS: Final = 1
"""One may fail, or be restarted, at the peak."""


def plans_of(demands: Sequence[Demand], costs: Mapping[KeyKind, Costs], model: str) -> list[Plan]:
    """A plan for each kind of key on one model of HSM; raises ``LookupError`` where no rate is known."""
    return [plan(demand, costs[demand.kind], hsm_rate(MODELS[model], demand.kind)) for demand in demands]


def hosts_of(load_cores: float, cores: int) -> int:
    """Hosts of so many cores for this load at the peak, with the reserve of ``bench plan``."""
    return math.ceil(load_cores / (cores * Headroom().core_utilisation) - 1e-9) + SPARE_HOSTS


def side_by_side(demands: Sequence[Demand], costs: Mapping[KeyKind, Costs]) -> list[str]:
    """A line for the whole, one for each size of host, one for each model of HSM."""
    if not demands:
        return []
    any_model = next(iter(MODELS))
    plans = plans_of(demands, costs, any_model)
    load = sum(made.worker_load_cores + made.lane_load_cores for made in plans)
    redis = sum(made.redis_load_cores for made in plans)
    shards = max(1, math.ceil(redis / Headroom().redis_utilisation - 1e-9))
    whole = (
        f"{sum(demand.per_day for demand in demands):,.0f} signatures a day,"
        f" {sum(made.mean_per_s for made in plans):,.0f}/s on average and {sum(made.peak_per_s for made in plans):,.0f}/s at the peak,"
        " by the CPU of this run on cores like this machine's:"
        f" workers and lanes use {load:.2f} cores at the peak, Redis {redis:.2f} ({shards} {'shard' if shards == 1 else 'shards'}),"
        f" clients {sum(made.client_load_cores for made in plans):.2f};"
        f" results kept for an hour {sum(made.result_bytes for made in plans) / 2**30:.1f} GiB"
    )
    hosts = [
        f"hosts of {cores} cores: {hosts_of(load, cores)} (each below {Headroom().core_utilisation:.0%}, {SPARE_HOSTS} of them spare)"
        for cores in HOST_CORES
    ]
    return [whole, *hosts, *(_of_model(demands, costs, model) for model in MODELS)]


def _of_model(demands: Sequence[Demand], costs: Mapping[KeyKind, Costs], model: str) -> str:
    parts = [
        f"{made.hsms:,} for {made.peak_per_s:,.0f}/s of {made.kind} ({number(made.hsm.per_s)}/s each, {made.hsm.trust})"
        for made in plans_of(demands, costs, model)
    ]
    return f"{model}: {', '.join(parts)}"
