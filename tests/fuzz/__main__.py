"""``make fuzz``: each boundary by a coverage-guided fuzzer, in turn.

    python -m tests.fuzz [--minutes 60] [--jobs 2] [NAME-PATTERN…]

The time is divided among the boundaries. What a fuzzer learns stays in ``build/fuzz/NAME/corpus``, and the next run goes on
from there; an input that is not borne is in ``build/fuzz/NAME``. Exit code 1 when there is one.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

from tests.fuzz.boundaries import BOUNDARIES

OUT: Final = Path("build/fuzz")
LARGEST_INPUT_BYTES: Final = 8192
"""The smallest compound file with a stream in sectors of its own has more than 4096."""

SLOWEST_INPUT_S: Final = 20
"""An input that takes so long is a finding; a busy machine takes a fraction of it for any."""

LARGEST_PROCESS_MB: Final = 2048
GRACE_S: Final = 120.0
"""Start of the interpreter, and the input that is being read when the time is over."""

_EXECUTED: Final = re.compile(r"^stat::number_of_executed_units:\s+(\d+)", re.MULTILINE)
_ERROR: Final = re.compile(r"^([A-Za-z_.]+(?:Error|Exception|Invalid|Exit|Interrupt)\b.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class FuzzRun:
    """Run of one fuzzer. ``finding``: what it found, else empty."""

    boundary: str
    executions: int
    seconds: float
    finding: str


def say(text: str) -> None:
    """One line for whoever waits."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def write_seeds(boundary: str, corpus: Path) -> None:
    """Put the valid examples into the corpus, each under its hash."""
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in BOUNDARIES[boundary].seeds:
        (corpus / hashlib.sha256(seed).hexdigest()[:40]).write_bytes(seed)


def fuzz(boundary: str, seconds: float) -> FuzzRun:
    """Run the fuzzer of this boundary for so long."""
    folder = OUT / boundary
    write_seeds(boundary, folder / "corpus")
    command = [
        sys.executable, "-m", "tests.fuzz.harness", boundary, str(folder / "corpus"),
        f"-max_total_time={max(int(seconds), 1)}", f"-max_len={LARGEST_INPUT_BYTES}", f"-timeout={SLOWEST_INPUT_S}",
        f"-rss_limit_mb={LARGEST_PROCESS_MB}", f"-artifact_prefix={folder}/", "-print_final_stats=1",
    ]  # fmt: skip
    started = time.monotonic()
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False, timeout=seconds + GRACE_S
        )
        code, output = ended.returncode, ended.stdout + ended.stderr
    except subprocess.TimeoutExpired:
        code, output = -1, "the fuzzer did not end"
    (folder / "log").write_text(output, "utf-8")
    executed = _EXECUTED.search(output)
    return FuzzRun(
        boundary=boundary,
        executions=int(executed.group(1)) if executed else 0,
        seconds=time.monotonic() - started,
        finding="" if code == 0 else what_was_found(output),
    )


def what_was_found(output: str) -> str:
    """The exception in a fuzzer's output, else its last line."""
    errors = _ERROR.findall(output)
    return str(errors[-1]) if errors else (output.strip() or "no output").splitlines()[-1]


def main(words: Sequence[str]) -> int:
    """Exit code of the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("names", nargs="*", metavar="NAME-PATTERN", help="boundaries to fuzz; default: all")
    parser.add_argument("--minutes", type=float, default=60.0, help="time for all of them together")
    parser.add_argument("--jobs", type=int, default=2, help="fuzzers at the same time")
    options = parser.parse_args(words)
    if importlib.util.find_spec("atheris") is None:
        say("atheris is not installed: run `make fuzz`, or pip install -r tests/fuzz/requirements.lock")
        return 2
    names = [n for n in BOUNDARIES if not options.names or any(fnmatch(n, p) for p in options.names)]
    if not names:
        say(f"no boundary has such a name; there are {', '.join(BOUNDARIES)}")
        return 2
    jobs = min(options.jobs, len(names))
    seconds = 60.0 * options.minutes * jobs / len(names)
    runs: list[FuzzRun] = []
    with ThreadPoolExecutor(jobs) as threads:
        for run in threads.map(lambda name: fuzz(name, seconds), names):
            runs.append(run)
            each = run.executions / run.seconds
            say(f"{run.boundary:14} {run.executions:11,} inputs {each:8,.0f}/s  {run.finding or 'ok'}")
    found = [run.boundary for run in runs if run.finding]
    say(f"{sum(run.executions for run in runs):,} inputs, {len(found)} findings; inputs and logs in {OUT}")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
