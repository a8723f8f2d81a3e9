"""``make soak``: mixed load with faults for a bounded time; what must not grow is measured, and every round is judged.

    python -m tests.faults.soak [--minutes 60] [--out build/soak]

Worker 1 lives as long as the soak: faults that end a worker are done to worker 2. Each round is some faults under
load, then a silence in which all ends; its history is judged as a seed's is. ``OUT/summary.json`` has the slopes, ``OUT/samples.json``
what they are of: seconds and values by name.
Exit code 1 when something grew, or a rule was broken.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import shutil
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

import msgspec

from queueing.redis.pool import IDLE_S
from tests.faults.checker.check import Verdict, check
from tests.faults.flatness import Bound, Flatness, Sample, judge
from tests.faults.harness.harness import Harness
from tests.faults.harness.load import Builds
from tests.faults.harness.observed_rig import Setup
from tests.faults.harness.redis_places import Deployment
from tests.faults.history import Event, TenantKey, write_history
from tests.faults.injections.kinds import kinds_on
from tests.faults.injections.scene import Scene
from tests.faults.injections.schedule import Step, schedule
from tests.faults.run import do, look_at_the_end
from tests.faults.summary import say
from tests.support.rig.rig import WorkerProcess
from workers.journal.journal import NOWAIT_DELAY_S

STEPS_OF_A_ROUND = 5
CALM_S = 4.0
"""Between faults: load alone."""

SILENCE_S = 2 * NOWAIT_DELAY_S + 0.5
"""What nobody waits for is in the log by then."""

PAUSE_S = 0.5
RETENTION_S = 180.0
SAMPLE_S = 2.0
WARM_UP = 0.3
"""This part of the run is not measured: caches fill, results pile up until the first of them expire."""

LASTING = 1
KINDS_OF_A_SOAK = tuple(
    k for k in kinds_on(Deployment.ONE) if k not in {"worker.kill-all", "worker.rolling-restart"}
)

UNUSED_S = IDLE_S + 20.0
"""A pool closes what was idle for ``IDLE_S`` when its next command ends; freezes of Redis, of 5 s at the most, add to that."""

MOST_CONNECTIONS = 64
"""By design: each pool has as many as were in use at once in the last minute. Six clients have at most 4 (a submit, a
look-up, the directory, the reply stream), two workers at most 16 (the doorbells, the leases, and a dozen tasks), and the
measurements and the floods have 8. Seen in an hour: 42."""

PEAKS = 6.0
"""Chance growth of the connections over a run, whose number follows peaks and begins again at each restart of Redis: more than
four standard errors of such a series (tests/unit/faults/test_soak.py). Seen in three runs: 0."""

PEAKS_OF_ONE = 4.0
"""Chance growth of the descriptors of one process, a part of which are such connections. Seen in three runs: 0 to 2."""

BOUNDS = (
    Bound(name="worker: memory, MiB", per_hour=2.0, noise=2.0),
    Bound(name="worker: thousands of blocks of Python's allocator", per_hour=5.0, noise=5.0),
    Bound(name="worker: descriptors", per_hour=2.0, noise=PEAKS_OF_ONE),
    Bound(name="worker: threads", per_hour=1.0, noise=1.0),
    Bound(name="worker: lanes", per_hour=0.5, noise=0.5),
    Bound(name="lanes: sessions", per_hour=0.5, noise=0.5),
    Bound(name="clients: descriptors", per_hour=2.0, noise=PEAKS_OF_ONE),
    Bound(name="clients: tasks", per_hour=2.0, noise=3.0),
    Bound(name="redis: connections", per_hour=2.0, noise=PEAKS, most=MOST_CONNECTIONS),
    Bound(name="redis: unused connections", most=0),
    Bound(name="redis: keys", per_hour=100.0, noise=400.0),
)


class Soaked(msgspec.Struct, frozen=True, kw_only=True):
    """Result of the soak."""

    minutes: float
    rounds: int
    injections: dict[str, int]
    operations: dict[str, int]
    violations: list[str]
    flatness: list[Flatness]


class Meter:
    """Takes the samples, between faults and in them; what does not answer has no sample then."""

    def __init__(self, harness: Harness) -> None:
        self._stand = harness
        self.samples: defaultdict[str, list[Sample]] = defaultdict(list)

    async def run(self) -> None:
        """For ever."""
        while True:
            await asyncio.sleep(SAMPLE_S)
            await self.sample()

    async def sample(self) -> None:
        """One of each."""
        worker = self._stand.workers[LASTING]
        values = await asyncio.to_thread(_of_worker, worker)
        with contextlib.suppress(FileNotFoundError, ValueError):  # not yet, or being written
            blocks = Path(f"{self._stand.rig.history_file(LASTING)}.blocks").read_text()
            values["worker: thousands of blocks of Python's allocator"] = int(blocks) / 1000
        values["clients: descriptors"] = len(os.listdir("/proc/self/fd"))  # noqa: PTH208  # a count is all
        values["clients: tasks"] = len(asyncio.all_tasks())
        values |= await self._of_redis()
        now = time.monotonic()
        for name, value in values.items():
            if value == value:  # noqa: PLR0124  # NaN: the worker did not answer
                self.samples[name].append((now, value))

    async def _of_redis(self) -> dict[str, float]:
        redis = self._stand.rig.connect()
        try:
            async with asyncio.timeout(1.0):
                clients = await redis.client_list()
                keys = await redis.dbsize()
        except Exception:  # noqa: BLE001  # a fault is under way
            return {}
        finally:
            await redis.aclose()
        return {**connections(clients), "redis: keys": keys}

    def flatness(self, began: float, ended: float) -> list[Flatness]:
        """Each bound, judged by what was measured after the warm-up."""
        after = began + (ended - began) * WARM_UP
        return [judge(b, [s for s in self.samples[b.name] if s[0] >= after]) for b in BOUNDS]


def connections(clients: Sequence[Mapping[str, str]]) -> dict[str, float]:
    """Samples of a CLIENT LIST. No pool has what was idle for longer than ``UNUSED_S``: it is leaked."""
    unused = sum(float(client["idle"]) > UNUSED_S for client in clients)
    return {"redis: connections": len(clients), "redis: unused connections": unused}


def _of_worker(worker: WorkerProcess) -> dict[str, float]:
    proc = Path(f"/proc/{worker.pid}")
    return {
        "worker: memory, MiB": worker.rss_mib,
        "worker: descriptors": len(list((proc / "fd").iterdir())),
        "worker: threads": len(list((proc / "task").iterdir())),
        "worker: lanes": sum(len(pids) for pids in worker.lanes().values()),
        "lanes: sessions": worker.metric("sigmill_sessions"),
    }


def _steps(rng: Random) -> list[Step]:
    """A round's, with the lasting worker spared."""
    made = schedule(rng.randrange(2**32), KINDS_OF_A_SOAK, steps=STEPS_OF_A_ROUND)
    return [
        Step(
            step.kinds,
            tuple(
                replace(draw, worker=2) if kind.startswith("worker.") else draw
                for kind, draw in zip(step.kinds, step.draws, strict=True)
            ),
        )
        for step in made
    ]


async def _round(harness: Harness, load: Builds, rng: Random) -> tuple[list[Step], list[Event]]:
    """Faults under load, then the silence; the events of this round."""
    began_at = time.time()
    steps = _steps(rng)
    async with load.builds():
        for step in steps:
            await asyncio.sleep(CALM_S)
            await do(step, Scene(harness, load, Random(rng.random())))
    await look_at_the_end(harness, load)
    await asyncio.sleep(SILENCE_S)
    events = await asyncio.to_thread(harness.events)
    return steps, [event for event in events if event.at >= began_at or isinstance(event, TenantKey)]


@dataclass(slots=True)
class Sums:
    """Sums of work and findings so far."""

    rounds: int = 0
    injections: Counter[str] = field(default_factory=Counter)
    operations: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)

    def add(self, steps: list[Step], verdict: Verdict) -> list[str]:
        """A round; what was found in it."""
        self.rounds += 1
        self.injections.update(kind for step in steps for kind in step.kinds)
        self.operations += verdict.operations
        found = [f"round {self.rounds}: {v.rule}: {v.why}" for v in verdict.violations]
        self.violations += found
        return found


async def soak(minutes: float, out: Path) -> Soaked:
    """Rounds until the time is over. The summary is written after each, so that an end before its time leaves one."""
    rng = Random(1)
    sums = Sums()
    with Harness.open(out / "harness", Setup(retention_s=RETENTION_S)) as harness:
        for number in (1, 2):
            await harness.start_worker(number)
        meter = Meter(harness)
        began = time.monotonic()
        async with Builds.of(harness.clients(), harness.recorder, rng) as load, asyncio.TaskGroup() as tasks:
            load.pause_s = PAUSE_S
            measuring = tasks.create_task(meter.run())
            while True:
                steps, events = await _round(harness, load, rng)
                found = sums.add(steps, check(events))
                keep_broken(out, sums.rounds, found, events)
                _say_round(sums.rounds, found, meter, began)
                soaked = _soaked(sums, meter, began)
                (out / "summary.json").write_bytes(msgspec.json.format(msgspec.json.encode(soaked), indent=1))
                (out / "samples.json").write_bytes(msgspec.json.encode(meter.samples))
                if time.monotonic() >= began + minutes * 60:
                    break
                load.jobs.clear()
                harness.forget()
            measuring.cancel()
    return soaked


def keep_broken(out: Path, number: int, found: Sequence[str], events: Sequence[Event]) -> None:
    """Keep the history of a round in which a rule was broken, for `check` to be asked again; the next round begins with none."""
    if found:
        write_history(out / f"round-{number}.jsonl", events)


def _soaked(sums: Sums, meter: Meter, began: float) -> Soaked:
    now = time.monotonic()
    return Soaked(
        minutes=round((now - began) / 60, 1),
        rounds=sums.rounds,
        injections=dict(sums.injections),
        operations=dict(sums.operations),
        violations=sums.violations,
        flatness=meter.flatness(began, now),
    )


def _say_round(number: int, found: list[str], meter: Meter, began: float) -> None:
    last = {name: samples[-1][1] for name, samples in meter.samples.items() if samples}
    memory = last.get("worker: memory, MiB", 0.0)
    say(f"{(time.monotonic() - began) / 60:5.1f} min, round {number}: {memory:.1f} MiB")
    for line in found:
        say(f"    VIOLATION {line}")


def main() -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--out", type=Path, default=Path("build/soak"))
    options = parser.parse_args()
    shutil.rmtree(options.out, ignore_errors=True)
    soaked = asyncio.run(soak(options.minutes, options.out))
    for flat in soaked.flatness:
        word = "flat" if flat.flat else flat.word.upper()
        say(
            f"{flat.name:24} {flat.first:9.1f} {flat.last:9.1f} {flat.per_hour:+9.2f} an hour"
            f" {flat.largest:9.1f} at most  {word}"
        )
    say(
        f"{soaked.minutes} min, {sum(soaked.injections.values())} faults, {len(soaked.violations)} violations"
    )
    return 1 if soaked.violations or not all(flat.flat for flat in soaked.flatness) else 0


if __name__ == "__main__":
    sys.exit(main())
