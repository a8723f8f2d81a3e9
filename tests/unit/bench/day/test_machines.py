"""The day on a list of machines."""

from __future__ import annotations

import math
import re

from bench.capacity.hsm_rates import MODELS
from bench.capacity.model import Costs, Demand
from bench.day.machines import HOST_CORES, hosts_of, side_by_side
from queueing.protocol.algorithms import KeyKind

DEMANDS = [
    Demand(per_day=250e6, kind=KeyKind.RSA_3072, peak_factor=3.0),
    Demand(per_day=250e6, kind=KeyKind.P256, peak_factor=3.0),
]
COSTS = {
    KeyKind.RSA_3072: Costs(client_us=5.0, redis_us=1.0, worker_us=9.0, lane_us=60.0),
    KeyKind.P256: Costs(client_us=5.0, redis_us=1.0, worker_us=9.0, lane_us=100.0),
}


def test_each_size_of_host_and_each_model_has_a_line() -> None:
    lines = side_by_side(DEMANDS, COSTS)
    assert len(lines) == 1 + len(HOST_CORES) + len(MODELS)
    assert [line.split(":")[0] for line in lines[-len(MODELS) :]] == list(MODELS)


def test_the_whole_is_the_sum_over_both_kinds_of_key() -> None:
    """8,681/s of each kind at the peak: 8,681 x (69 + 109) us are 1.55 cores, and Redis has a fifty-eighth of one."""
    whole = side_by_side(DEMANDS, COSTS)[0]
    assert whole.startswith("500,000,000 signatures a day, 5,787/s on average and 17,361/s at the peak")
    assert "workers and lanes use 1.55 cores" in whole
    assert "Redis 0.02 (1 shard)" in whole


def test_hosts_bear_the_load_below_sixty_per_cent_and_one_is_spare() -> None:
    for load in (0.1, 1.2, 1.55, 40.0):
        for cores in HOST_CORES:
            without_spare = hosts_of(load, cores) - 1
            assert without_spare * cores * 0.6 >= load - 1e-6
            assert without_spare == max(1, math.ceil(load / (0.6 * cores) - 1e-9))


def test_devices_are_those_of_bench_plan() -> None:
    """8,681/s of RSA-3072 at 340/s and 70 % are 37, with one in reserve 38; the source's trust is said."""
    (line,) = (line for line in side_by_side(DEMANDS, COSTS) if line.startswith("azure-managed-hsm"))
    assert re.findall(r"(\d+) for 8,681/s of (\w+)", line) == [("38", "RSA_3072"), ("39", "P256")]
    assert "vendor" in line


def test_without_a_demand_there_is_nothing_to_say() -> None:
    assert side_by_side([], {}) == []
