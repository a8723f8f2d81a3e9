"""A finished day: what was seen, CPU by phase, and what a signature costs. Pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from bench.capacity.model import Costs, Demand
from bench.day.curve import PEAK, Phase
from bench.day.messages import LoadResult
from bench.day.observation import Sample
from bench.day.processes import CLIENT, LANES, REDIS, SEALER, SERVICE_LANE, WORKER, lane_group
from bench.day.rules import Memory, PhaseVerdict, answered_between, memories, verdict
from bench.day.tenants import DayTenant
from queueing.protocol.algorithms import KeyKind


class Day(msgspec.Struct, frozen=True, kw_only=True):
    """All that was seen in one day. ``came``: tenants that asked; ``incident``: its name, ``incident_s`` its moment; ``cores`` of the machine."""

    phases: list[Phase]
    tenants: list[DayTenant]
    came: list[str]
    load: LoadResult
    samples: list[Sample]
    lane_pss_bytes: list[int]
    cores: int
    incident: str | None = None
    incident_s: float | None = None

    def verdicts(self) -> list[PhaseVerdict]:
        """The verdict on each phase."""
        return [verdict(self.load.progress, phase) for phase in self.phases]

    def memories(self) -> list[Memory]:
        """Memory before and after the peak."""
        return memories(self.samples, self.phases)

    @property
    def signed(self) -> int:
        """Digests that were signed."""
        return sum(each.digests - each.failed_digests for each in self.load.classes)


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """CPU between two moments of a phase: seconds by group, and of the whole machine."""

    begins_s: float
    ends_s: float
    cpu_s: dict[str, float]
    machine_busy_s: float
    machine_steal_s: float

    @property
    def seconds(self) -> float:
        """Time between the two."""
        return self.ends_s - self.begins_s

    def of(self, *groups: str) -> float:
        """CPU seconds of these groups."""
        return sum(self.cpu_s.get(group, 0.0) for group in groups)


SERVICE: Final = (REDIS, WORKER, SEALER, SERVICE_LANE, *LANES)


def usage(samples: Sequence[Sample], phase: Phase) -> Usage:
    """CPU between the first and the last sample of a phase; raises ``ValueError`` without two."""
    inside = [sample for sample in samples if phase.starts_s <= sample.at_s <= phase.ends_s]
    if len(inside) < 2:
        raise ValueError("a phase needs two samples")
    first, last = inside[0], inside[-1]
    return Usage(
        begins_s=first.at_s,
        ends_s=last.at_s,
        cpu_s={group: used_s - first.cpu_s.get(group, 0.0) for group, used_s in last.cpu_s.items()},
        machine_busy_s=last.machine_busy_s - first.machine_busy_s,
        machine_steal_s=last.machine_steal_s - first.machine_steal_s,
    )


def machine_in_words(used: Usage, cores: int) -> str:
    """Shares of the machine in a phase."""
    whole_s = used.seconds * cores
    own_s = used.of(CLIENT, *SERVICE)
    return (
        f"of the machine's {cores} cores the service takes {used.of(*SERVICE) / whole_s:.0%}"
        f" (lanes {used.of(*LANES) / whole_s:.0%}, worker {used.of(WORKER) / whole_s:.0%}, sealer {used.of(SEALER) / whole_s:.0%},"
        f" Redis {used.of(REDIS) / whole_s:.0%}), clients {used.of(CLIENT) / whole_s:.0%},"
        f" others and the benchmark itself {max(0.0, used.machine_busy_s - own_s) / whole_s:.0%}, stolen {used.machine_steal_s / whole_s:.0%}"
    )


def demands_and_costs(
    day: Day, per_day: float, peak_factor: float
) -> tuple[list[Demand], dict[KeyKind, Costs]]:
    """Demand and CPU of a signature by kind of key, for the plan: CPU of the peak, lanes by kind, the rest shared alike.

    A signature is one that was answered while that CPU was used: what was due then and answered later had its CPU later. Both kinds are
    taken to be answered in the proportion in which they were due.
    """
    (peak,) = (phase for phase in day.phases if phase.name == PEAK)
    used = usage(day.samples, peak)
    due: Counter[KeyKind] = Counter()
    for each in day.load.classes:
        if each.phase == PEAK:
            due[each.kind] += each.digests
    total = answered_between(day.load.progress, used.begins_s, used.ends_s)
    signed = {kind: total * count / due.total() for kind, count in due.items()}

    def us(count: float, *groups: str) -> float:
        return 1e6 * used.of(*groups) / count

    volume = _volume(day.tenants)
    kinds = [kind for kind in volume if signed.get(kind)]
    demands = [
        Demand(per_day=per_day * volume[kind] / sum(volume.values()), kind=kind, peak_factor=peak_factor)
        for kind in kinds
    ]
    costs = {
        kind: Costs(
            client_us=us(total, CLIENT),
            redis_us=us(total, REDIS),
            worker_us=us(total, WORKER, SEALER, SERVICE_LANE),
            lane_us=us(signed[kind], lane_group(kind)),
        )
        for kind in kinds
    }
    return demands, costs


def _volume(tenants: Sequence[DayTenant]) -> Mapping[KeyKind, float]:
    volume: dict[KeyKind, float] = {}
    for tenant in tenants:
        volume[tenant.kind] = volume.get(tenant.kind, 0.0) + tenant.per_day
    return volume
