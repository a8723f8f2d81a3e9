"""The kinds of fault by name, with what is promised for each.

Each is done and undone by one function, which returns when it is healed; then the clock of its recovery runs. What is
promised is what the documents say for an idle machine; the checker allows a busy one some seconds more.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from tests.faults.harness.observed_rig import LEASE_S
from tests.faults.harness.redis_places import Deployment
from tests.faults.history import Fault
from tests.faults.injections import (
    client_faults,
    clock_faults,
    cluster_faults,
    flood_faults,
    hsm_faults,
    limit_faults,
    log_faults,
    metrics_faults,
    redis_faults,
    sentinel_faults,
    token_faults,
    worker_faults,
)
from tests.faults.injections.scene import Injection, Scene
from tests.faults.injections.schedule import Draw, part_of

SLACK_S = 10.0
"""What a loaded two-core machine may take longer: processes start in seconds there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of fault. ``promised_s``: all that was open at the heal has ended by then, on an idle machine."""

    inject: Injection
    promised_s: float


async def inject(scene: Scene, name: str, draw: Draw) -> Fault:
    """Do it, heal it, and say when."""
    kind = KINDS[name]
    part = Scene(scene.harness, scene.load, scene.rng)
    began_at = time.time()
    await kind.inject(part, draw)
    scene.frozen += part.frozen
    return Fault(
        at=time.time(),
        kind=name,
        began_at=began_at,
        bound_s=kind.promised_s + SLACK_S,
        breaks=tuple(part.breaks),
        refuses=tuple(part.refuses),
        in_full_at=part.in_full_at,
        over_at=part.over_at,
        tenants_go_on=tuple(part.tenants_go_on),
        workers_go_on=tuple(part.workers_go_on),
    )


def _redis(fault: redis_faults.RedisFault) -> Injection:
    async def inject_it(scene: Scene, draw: Draw) -> None:
        await fault(scene.harness.place.first, draw.hold_s)

    return inject_it


LANE_S = 5.0
"""A lane is replaced, or a token used again after a pause, within this."""

KINDS: dict[str, Kind] = {
    "worker.kill": Kind(inject=worker_faults.worker_kill, promised_s=LEASE_S + 2),
    "worker.kill-all": Kind(inject=worker_faults.all_workers_killed, promised_s=LEASE_S + 2),
    "worker.pause": Kind(inject=worker_faults.worker_pause, promised_s=LEASE_S + 2),
    "worker.zombie": Kind(inject=worker_faults.worker_zombie, promised_s=LEASE_S + 2),
    "worker.term": Kind(inject=worker_faults.worker_term, promised_s=2),
    "worker.term-twice": Kind(inject=worker_faults.worker_term_twice, promised_s=LEASE_S + 2),
    "worker.rolling-restart": Kind(inject=worker_faults.rolling_restart, promised_s=2),
    "worker.reload": Kind(inject=worker_faults.worker_reload, promised_s=2),
    "worker.log-disk-full": Kind(inject=worker_faults.log_disk_full, promised_s=LEASE_S + 2),
    "lane.kill": Kind(inject=worker_faults.lane_kill, promised_s=LANE_S),
    "lane.segv": Kind(inject=worker_faults.lane_segv, promised_s=LANE_S),
    "lane.pause": Kind(inject=worker_faults.lane_pause, promised_s=2),
    "lane.frozen": Kind(inject=worker_faults.lane_frozen, promised_s=LANE_S + 7),
    "hsm.sign-error": Kind(inject=hsm_faults.sign_error, promised_s=LANE_S),
    "hsm.sign-init-error": Kind(inject=hsm_faults.sign_init_error, promised_s=LANE_S),
    "hsm.length-query-error": Kind(inject=hsm_faults.length_query_error, promised_s=LANE_S),
    "hsm.scarce": Kind(inject=hsm_faults.scarce, promised_s=LANE_S),
    "hsm.lane-in-doubt": Kind(inject=hsm_faults.lane_in_doubt, promised_s=LANE_S),
    "hsm.find-error": Kind(inject=hsm_faults.find_error, promised_s=LANE_S),
    "hsm.open-session-error": Kind(inject=hsm_faults.open_session_error, promised_s=LANE_S),
    "hsm.call-hangs": Kind(inject=hsm_faults.call_hangs, promised_s=LANE_S + 3),
    "hsm.slow-calls": Kind(inject=hsm_faults.slow_calls, promised_s=2),
    "hsm.wrong-signature": Kind(inject=hsm_faults.wrong_signature, promised_s=LANE_S),
    "hsm.exits": Kind(inject=hsm_faults.module_exits, promised_s=LANE_S),
    "hsm.crashes": Kind(inject=hsm_faults.module_crashes, promised_s=LANE_S),
    "hsm.device-removed": Kind(inject=hsm_faults.device_removed, promised_s=LANE_S),
    "hsm.token-away": Kind(inject=hsm_faults.token_away, promised_s=LANE_S),
    "hsm.poison-job": Kind(inject=hsm_faults.poison_job, promised_s=LANE_S),
    "hsm.refused-digest": Kind(inject=hsm_faults.refused_digest, promised_s=2),
    "clock.lanes-hour-ahead": Kind(inject=clock_faults.hour_ahead, promised_s=LANE_S),
    "clock.lanes-years-ahead": Kind(inject=clock_faults.years_ahead, promised_s=LANE_S),
    "clock.lanes-hour-back": Kind(inject=clock_faults.hour_back, promised_s=LANE_S),
    "clock.lanes-years-back": Kind(inject=clock_faults.years_back, promised_s=LANE_S),
    "flood.rubbish": Kind(inject=flood_faults.rubbish, promised_s=LANE_S),
    "flood.forged": Kind(inject=flood_faults.forged, promised_s=LANE_S),
    "log.reader-stopped": Kind(inject=log_faults.reader_stopped, promised_s=2),
    "log.reader-killed": Kind(inject=log_faults.reader_killed, promised_s=2),
    "metrics.silent": Kind(inject=metrics_faults.silent, promised_s=2),
    "metrics.slow-loris": Kind(inject=metrics_faults.slow_loris, promised_s=2),
    "metrics.garbage": Kind(inject=metrics_faults.garbage, promised_s=2),
    "token.copied": Kind(inject=token_faults.copied, promised_s=LANE_S),
    "limits.changed": Kind(inject=limit_faults.changed, promised_s=2),
    "cluster.primary-killed": Kind(inject=cluster_faults.primary_killed, promised_s=LEASE_S + 2),
    "cluster.slot-moved": Kind(inject=cluster_faults.slot_moved, promised_s=LEASE_S + 2),
    "sentinel.primary-killed": Kind(inject=sentinel_faults.primary_killed, promised_s=LEASE_S + 2),
    "sentinel.primary-hangs": Kind(inject=sentinel_faults.primary_hangs, promised_s=LEASE_S + 2),
    "sentinel.failed-over": Kind(inject=sentinel_faults.failed_over, promised_s=LEASE_S + 2),
    "client.same-request": Kind(inject=client_faults.many_submit_the_same, promised_s=2),
    "client.killed": Kind(inject=client_faults.client_killed, promised_s=2),
    "client.conflict": Kind(inject=client_faults.conflicting_submit, promised_s=2),
    **{
        name: Kind(inject=_redis(fault), promised_s=promised_s)
        for name, (fault, promised_s) in redis_faults.FAULTS.items()
    },
}

_ELSEWHERE = {
    "redis": frozenset({Deployment.ONE}),
    "sentinel": frozenset({Deployment.SENTINEL}),
    "cluster": frozenset({Deployment.CLUSTER}),
}


def kinds_on(deployment: Deployment) -> list[str]:
    """Kinds of fault that a run on this Redis has."""
    return [kind for kind in KINDS if deployment in _ELSEWHERE.get(part_of(kind), frozenset(Deployment))]


def own_kinds(deployment: Deployment) -> list[str]:
    """Kinds that only this Redis has, of which its runs have many; none for one server, which has most of the runs."""
    if deployment is Deployment.ONE:
        return []
    return [kind for kind in KINDS if deployment in _ELSEWHERE.get(part_of(kind), ())]
