"""``make mutants``: each mutant must be noticed by its tests.

    python -m tests.mutants [--jobs 2] [NAME-PATTERN…]

First the tests of all selected mutants pass without any. Then each mutant is applied to a private copy of the tree and its
tests run: KILLED when one of them fails, SURVIVED when none does, STALE when its text is not found exactly once, BROKEN when
the tests could not be run. Exit code 1 unless all are killed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from fnmatch import fnmatch
from pathlib import Path
from queue import SimpleQueue

from tests.mutants.catalogue import Mutant, all_mutants
from tests.mutants.private_copy import PrivateCopy, Trial, Verdict


def say(text: str) -> None:
    """One line for whoever waits."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def selected(mutants: Iterable[Mutant], patterns: Sequence[str]) -> list[Mutant]:
    """Mutants whose name matches one of the patterns; all without patterns."""
    return [m for m in mutants if not patterns or any(fnmatch(m.name, pattern) for pattern in patterns)]


def selections_of(mutants: Iterable[Mutant]) -> list[str]:
    """All their tests, each once: pytest would run a file twice that is also named by its folder."""
    named = {test for mutant in mutants for test in mutant.tests}
    return sorted(t for t in named if not any(t != o and t.startswith((f"{o}/", f"{o}::")) for o in named))


def line_of(trial: Trial) -> str:
    """One line of the table."""
    return f"{trial.verdict:8} {trial.mutant.name:40} {trial.seconds:5.1f} s  {trial.by}"


def _try_all(mutants: Sequence[Mutant], copies: Sequence[PrivateCopy]) -> list[Trial]:
    free: SimpleQueue[PrivateCopy] = SimpleQueue()
    for copy in copies:
        free.put(copy)

    def trial(mutant: Mutant) -> Trial:
        copy = free.get()
        try:
            return copy.try_mutant(mutant)
        finally:
            free.put(copy)

    trials: list[Trial] = []
    with ThreadPoolExecutor(len(copies)) as threads:
        for done in as_completed([threads.submit(trial, mutant) for mutant in mutants]):
            trials.append(done.result())
            say(line_of(trials[-1]))
    return trials


def _report(trials: Sequence[Trial], seconds: float) -> int:
    counts = Counter(trial.verdict for trial in trials)
    say(
        f"{len(trials)} mutants in {seconds:.0f} s: "
        + ", ".join(f"{n} {v.lower()}" for v, n in counts.items())
    )
    left = [trial for trial in trials if trial.verdict is not Verdict.KILLED]
    for trial in left:
        say(f"{trial.verdict:8} {trial.mutant.name}: {trial.mutant.rule} ({', '.join(trial.mutant.tests)})")
    return 1 if left else 0


def main(words: Sequence[str]) -> int:
    """Exit code of the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants")
    parser.add_argument("names", nargs="*", metavar="NAME-PATTERN", help="mutants to try; default: all")
    parser.add_argument("--jobs", type=int, default=2, help="mutants that are tried at the same time")
    options = parser.parse_args(words)
    mutants = selected(all_mutants(), options.names)
    if not mutants:
        say("no mutant has such a name")
        return 2
    started = time.monotonic()
    jobs = max(min(options.jobs, len(mutants)), 1)
    with tempfile.TemporaryDirectory(prefix="sigmill-mutants-") as folder:
        copies = [PrivateCopy(Path(folder) / str(i)) for i in range(jobs)]
        unchanged = copies[0].run(selections_of(mutants), "-n", str(jobs), "--dist", "loadfile")
        if unchanged.code != 0:
            say(f"the tests fail without a mutant: {unchanged.first_failed}")
            return 2
        return _report(_try_all(mutants, copies), time.monotonic() - started)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
