"""``make faults``: seeded runs, one process each, and what came of them all.

    python -m tests.faults 1-200 [--jobs 2] [--out build/faults]

Each seed says its schedule and its verdict; ``OUT/summary.json`` has the sums. The history of a seed that failed
stays in ``OUT/SEED``. Exit code 1 when a seed failed.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import time
from pathlib import Path

import msgspec

from tests.faults.run import Plan, Report, run_seed
from tests.faults.summary import print_report, print_summary, say, summary_of

SEED_TIMEOUT_S = 300.0
SECONDS_BETWEEN_STARTS = 3.0


def seeds_of(text: str) -> list[int]:
    """``17``, ``1-200``, ``1-5,9``."""
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def run_one(seed: int, out: Path, steps: int) -> int:
    """One seed in this process; its report is written to ``OUT/SEED.json``."""
    folder = out / str(seed)
    shutil.rmtree(folder, ignore_errors=True)
    report = asyncio.run(run_seed(seed, folder, Plan(steps=steps)))
    (out / f"{seed}.json").write_bytes(msgspec.json.encode(report))
    if not report.violations:
        shutil.rmtree(folder)
    return 1 if report.violations else 0


async def _child(seed: int, out: Path, steps: int) -> Report | None:
    """One seed in a process of its own; None where the run itself broke, and its words are in ``OUT/SEED.log``."""
    file, log = out / f"{seed}.json", out / f"{seed}.log"
    file.unlink(missing_ok=True)
    with log.open("wb") as words:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.faults", "--one", "--out", str(out), "--steps", str(steps), str(seed),
            stdout=words, stderr=words,
        )  # fmt: skip
        try:
            async with asyncio.timeout(SEED_TIMEOUT_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
    if not file.exists():
        say(f"seed {seed}: the run broke: {log}")
        return None
    log.unlink()
    return msgspec.json.decode(file.read_bytes(), type=Report)


async def run_many(seeds: list[int], out: Path, *, jobs: int, steps: int) -> int:
    """All seeds, some at a time; then the sums."""
    out.mkdir(parents=True, exist_ok=True)
    reports: list[Report] = []
    broken: list[int] = []
    waiting = list(reversed(seeds))
    began = time.monotonic()

    async def work(number: int) -> None:
        await asyncio.sleep(number * SECONDS_BETWEEN_STARTS)
        while waiting:
            seed = waiting.pop()
            report = await _child(seed, out, steps)
            if report is None:
                broken.append(seed)
                continue
            reports.append(report)
            print_report(report)
            summary = summary_of(reports, broken, seconds=time.monotonic() - began)
            (out / "summary.json").write_bytes(msgspec.json.format(msgspec.json.encode(summary), indent=1))

    async with asyncio.TaskGroup() as tasks:
        for number in range(jobs):
            tasks.create_task(work(number))
    print_summary(summary_of(reports, broken, seconds=time.monotonic() - began))
    return 1 if broken or any(report.violations for report in reports) else 0


def main() -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="Seeded runs with faults.")
    parser.add_argument("seeds", help="17, 1-200 or 1-5,9")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--steps", type=int, default=Plan().steps, help="faults of a run")
    parser.add_argument("--out", type=Path, default=Path("build/faults"))
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    seeds = seeds_of(options.seeds)
    if options.one:
        return run_one(seeds[0], options.out, options.steps)
    return asyncio.run(run_many(seeds, options.out, jobs=options.jobs, steps=options.steps))


if __name__ == "__main__":
    sys.exit(main())
