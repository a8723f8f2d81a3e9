"""One seeded run from its start to its verdict, and what is said of many."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from random import Random

import msgspec

from tests.faults.checker.check import Verdict, check
from tests.faults.harness.harness import Harness
from tests.faults.harness.load import ANSWER_TIMEOUT_S, Builds
from tests.faults.harness.observed_rig import LEASE_S, SIGN_US, Setup
from tests.faults.harness.redis_places import Deployment
from tests.faults.history import Left, write_history
from tests.faults.injections.kinds import KINDS, inject, kinds_on, own_kinds
from tests.faults.injections.scene import Scene
from tests.faults.injections.schedule import WORKERS, Step, schedule

STEPS = 6
WARM_UP_S = 0.5
REDIS_EMPTY_S = 10.0


NEVER_S = 9999.0
"""In the place of a recovery that did not come: JSON has no infinity."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Result of a seed. ``recoveries`` in seconds, by kind; of single faults only."""

    seed: int
    seconds: float
    schedule: list[str]
    violations: list[str]
    injections: dict[str, int]
    recoveries: dict[str, list[float]]
    operations: dict[str, int]
    digests: int
    mended_tokens: int


@dataclass(slots=True, kw_only=True)
class Plan:
    """Parameters of a run apart from its seed. ``only``: these kinds instead of all; ``broken``: a script of
    ``broken.py`` in place of the shipped one; ``patience_s``: after so long a client's job is lost; ``manners``: of the
    tenants' PKCS#11 modules (``tests/native/manners.c``)."""

    steps: int = STEPS
    workers: int = WORKERS
    only: tuple[str, ...] = ()
    pairs: float = 0.2
    broken: str = ""
    lease_s: float = LEASE_S
    sign_us: int = SIGN_US
    patience_s: float = ANSWER_TIMEOUT_S
    manners: tuple[str, ...] = ()


async def run_seed(seed: int, folder: Path, plan: Plan | None = None) -> Report:
    """Run the seed's schedule in ``folder``, and judge it. The history is written to ``folder/history.jsonl``."""
    plan = plan or Plan()
    deployment = deployment_of(seed, plan)
    steps = schedule(
        seed,
        plan.only or kinds_on(deployment),
        steps=plan.steps,
        workers=plan.workers,
        pairs=plan.pairs,
        own=() if plan.only else own_kinds(deployment),
    )
    began = time.monotonic()
    setup = Setup(
        deployment=deployment,
        broken=plan.broken,
        lease_s=plan.lease_s,
        sign_us=plan.sign_us,
        manners=plan.manners,
    )
    with Harness.open(folder, setup) as harness:
        for number in range(1, plan.workers + 1):
            await harness.start_worker(number)
        await _under_load(harness, steps, Random(seed), plan.patience_s)
        for number in sorted(harness.workers):
            await harness.stop_worker(number)
        await asyncio.to_thread(harness.rig.close_logs)
        events = harness.events() + harness.exported()
        mended = harness.keeper.mended
    write_history(folder / "history.jsonl", sorted(events, key=lambda event: event.at))
    verdict = check(events)
    return _report(seed, time.monotonic() - began, steps, verdict, mended)


def deployment_of(seed: int, plan: Plan) -> Deployment:
    """One seed of ten runs on a cluster, and one behind Sentinels; with ``only``, that which has these kinds."""
    if plan.only:
        return next(d for d in Deployment if set(plan.only) <= set(kinds_on(d)))
    return {3: Deployment.CLUSTER, 7: Deployment.SENTINEL}.get(seed % 10, Deployment.ONE)


async def _under_load(harness: Harness, steps: list[Step], rng: Random, patience_s: float) -> None:
    async with Builds.of(harness.clients(), harness.recorder, rng, patience_s) as load:
        async with load.builds():
            await asyncio.sleep(WARM_UP_S)
            for number in sorted(harness.workers):
                await harness.knows_its_clock(number)
            for step in steps:
                await do(step, Scene(harness, load, Random(rng.random())))
        await look_at_the_end(harness, load)


async def look_at_the_end(harness: Harness, load: Builds) -> None:
    """Final check after all builds have finished: no leftover, and every result is there."""
    left = await harness.left_in_redis(within_s=REDIS_EMPTY_S)
    harness.recorder.note(*(Left(at=time.time(), what=what) for what in left))
    await harness.read_results(load.jobs, all_there=True)


async def do(step: Step, scene: Scene) -> None:
    """The faults of a step, all at once; then wait until what was open has ended, or the bound is over."""
    faults = await asyncio.gather(
        *(inject(scene, kind, draw) for kind, draw in zip(step.kinds, step.draws, strict=True))
    )
    healed_at = max(fault.at for fault in faults)
    bound_s = sum(fault.bound_s for fault in faults)
    if len(faults) > 1:
        faults = [
            msgspec.structs.replace(
                fault,
                at=healed_at,
                bound_s=bound_s,
                kind="+".join(f.kind for f in faults) if i == 0 else f"with {faults[0].kind}",
                tenants_go_on=(),  # the other fault may hold them up
                workers_go_on=(),
            )
            for i, fault in enumerate(faults)
        ]
    scene.harness.recorder.note(*faults)
    await scene.load.settled(healed_at, bound_s)
    await scene.aftermath()
    await scene.harness.read_results(scene.load.jobs)


def _report(seed: int, seconds: float, steps: list[Step], verdict: Verdict, mended: int) -> Report:
    return Report(
        seed=seed,
        seconds=round(seconds, 1),
        schedule=[str(step) for step in steps],
        violations=sorted({f"{v.rule}: {v.why}" for v in verdict.violations}),
        injections=dict(Counter(kind for step in steps for kind in step.kinds)),
        recoveries={
            kind: [round(min(value, NEVER_S), 2) for value in values]
            for kind, values in verdict.recoveries.items()
            if kind in KINDS
        },
        operations=dict(verdict.operations),
        digests=verdict.operations["C_Sign"],
        mended_tokens=mended,
    )
