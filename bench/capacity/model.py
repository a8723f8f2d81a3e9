"""The capacity model: what N signatures a day of one kind of key need. Pure functions, no measurement.

CPU per signature comes from a report of this machine, HSM rates from a table or from the reader. Everything
is sized for the peak hour: ``per_day / 86,400 x peak_factor``.
"""

from __future__ import annotations

import math
from typing import Final

import msgspec

from bench.capacity.hsm_rates import HsmRate
from queueing.protocol.algorithms import FACTS, KEY_KINDS, Algorithm, KeyFamily, KeyKind
from queueing.protocol.der import SHORT_FORM
from queueing.protocol.public_keys import elliptic_curve

SECONDS_PER_DAY: Final = 86_400.0


def _signature_bytes(kind: KeyKind) -> int:
    """Bytes of a signature as stored: raw, or for EC keys Ecdsa-Sig-Value (RFC 3279 2.2.3) at its longest."""
    facts = KEY_KINDS[kind]
    if facts.family is not KeyFamily.EC:
        return facts.signature_bytes
    sign_bytes = 1 if elliptic_curve(kind).key_size % 8 == 0 else 0  # a set top bit is preceded by a zero
    body = 2 * (2 + facts.signature_bytes // 2 + sign_bytes)
    return body + (2 if body < SHORT_FORM else 3)


SIGNATURE_BYTES: Final = {kind: _signature_bytes(kind) for kind in KeyKind}
# Estimates until a run measures them; `result_bytes_per_signature` of the costs overrides both.
OUTCOME_OVERHEAD_BYTES: Final = 8  # msgpack framing of one outcome
RESULT_OVERHEAD_BYTES: Final = (
    400  # Redis: key of about 50 bytes, expiry, dict and allocator; the fixed fields
)


class Demand(msgspec.Struct, frozen=True, kw_only=True):
    """Demand of a plan. ``peak_factor``: the busiest hour against the day's mean."""

    per_day: float
    kind: KeyKind
    peak_factor: float = 3.0
    digests_per_job: int = 64
    result_retention_s: float = 3600.0


class Costs(msgspec.Struct, frozen=True, kw_only=True):
    """CPU microseconds per signature, measured at this kind of key and size of envelope."""

    client_us: float
    redis_us: float
    worker_us: float
    lane_us: float
    result_bytes_per_signature: float | None = None


class Headroom(msgspec.Struct, frozen=True, kw_only=True):
    """Highest utilisation of each part at the peak, and the reserve."""

    hsm_utilisation: float = 0.7  # queueing delay doubles near 0.7 even with steady arrivals
    core_utilisation: float = 0.6
    redis_utilisation: float = 0.5  # one thread, and failover doubles what a neighbour carries
    spare_hsms: int = 1  # one may fail, or be serviced, at the peak


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Result of a plan. Cores are whole; ``*_load_cores`` are what is really used at the peak."""

    kind: KeyKind
    mean_per_s: float
    peak_per_s: float
    hsm: HsmRate
    hsms: int
    worker_load_cores: float
    worker_cores: int
    lane_load_cores: float
    lane_cores: int
    client_load_cores: float
    redis_load_cores: float
    redis_shards: int
    jobs_per_s: float
    result_bytes: float


def plan(demand: Demand, costs: Costs, hsm: HsmRate, headroom: Headroom | None = None) -> Plan:
    """The plan for one kind of key; raises ``ValueError`` for a demand or a rate that is not positive."""
    room = headroom or Headroom()
    if min(demand.per_day, demand.peak_factor, demand.digests_per_job, hsm.per_s) <= 0:
        raise ValueError("signatures a day, peak factor, digests per job and HSM rate must be positive")
    mean_per_s = demand.per_day / SECONDS_PER_DAY
    peak_per_s = mean_per_s * demand.peak_factor
    worker, lane, redis = (_cores(peak_per_s, us) for us in (costs.worker_us, costs.lane_us, costs.redis_us))
    return Plan(
        kind=demand.kind,
        mean_per_s=mean_per_s,
        peak_per_s=peak_per_s,
        hsm=hsm,
        hsms=_whole(peak_per_s / (hsm.per_s * room.hsm_utilisation)) + room.spare_hsms,
        worker_load_cores=worker,
        worker_cores=_whole(worker / room.core_utilisation),
        lane_load_cores=lane,
        lane_cores=_whole(lane / room.core_utilisation),
        client_load_cores=_cores(peak_per_s, costs.client_us),
        redis_load_cores=redis,
        redis_shards=_whole(redis / room.redis_utilisation),
        jobs_per_s=peak_per_s / demand.digests_per_job,
        result_bytes=retention_bytes(demand, costs.result_bytes_per_signature),
    )


def retention_bytes(demand: Demand, bytes_per_signature: float | None = None) -> float:
    """Redis memory of results kept through the peak, over all shards, one copy (a replica doubles it).

    The peak is taken to last as long as the retention, or the rest of the day at the mean: no more results
    exist than were signed.
    """
    each = bytes_per_signature or result_bytes_per_signature(demand.kind, demand.digests_per_job)
    peak_rate = demand.per_day / SECONDS_PER_DAY * demand.peak_factor
    kept = min(peak_rate * demand.result_retention_s, demand.per_day * _days(demand.result_retention_s))
    return kept * each


def result_bytes_per_signature(kind: KeyKind, digests_per_job: int) -> float:
    """An estimate of what one stored signature costs: its bytes, and its share of the result's own."""
    return SIGNATURE_BYTES[kind] + OUTCOME_OVERHEAD_BYTES + RESULT_OVERHEAD_BYTES / digests_per_job


def kind_named(name: str) -> KeyKind:
    """The kind of key for what an operator types: a kind (RSA_3072), or an algorithm that leaves no choice.

    Raises ``ValueError``: an RSA algorithm does not tell the modulus, and that decides the cost.
    """
    try:
        return KeyKind(name)
    except ValueError:
        pass
    if name in Algorithm.__members__:
        fitting = FACTS[Algorithm(name)].key_kinds
        kinds = [kind for kind in KeyKind if kind in fitting]
        if len(kinds) == 1:
            return kinds[0]
        raise ValueError(f"{name} does not tell the kind of key: use {' or '.join(kinds)}")
    raise ValueError(f"{name} is no kind of key and no algorithm: use one of {', '.join(KeyKind)}")


def in_words(result: Plan) -> list[str]:
    """The plan as lines for a person."""
    hsm = result.hsm
    return [
        f"{result.mean_per_s:,.0f} signatures/s on average, {result.peak_per_s:,.0f}/s at the peak",
        f"{result.jobs_per_s:,.0f} jobs/s at the peak",
        f"HSMs: {result.hsms} x {hsm.model}, {hsm.per_s:,.0f}/s each ({hsm.trust}: {hsm.source})",
        f"worker cores: {result.worker_cores} ({result.worker_load_cores:.2f} used at the peak)",
        f"lane cores: {result.lane_cores} ({result.lane_load_cores:.2f} used)",
        f"Redis shards: {result.redis_shards} ({result.redis_load_cores:.2f} cores used in all)",
        f"clients spend {result.client_load_cores:.2f} cores in all",
        f"results kept in Redis: {result.result_bytes / 2**30:.1f} GiB, once more for each replica",
    ]


def _cores(per_s: float, us: float) -> float:
    return per_s * us / 1e6


def _whole(amount: float) -> int:
    return max(1, math.ceil(amount - 1e-9))


def _days(seconds: float) -> float:
    return max(1.0, seconds / SECONDS_PER_DAY)
