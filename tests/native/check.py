"""Native loop of lanes under AddressSanitizer, UndefinedBehaviorSanitizer and valgrind.

    python -m tests.native.check [--seed N] [--runs N]

Ends with 1 where a program or a tool finds something, and says how to run it again.
"""

from __future__ import annotations

import argparse
import random
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCE = Path(__file__).with_name("sign_run_check.c")
FLAGS = ("-std=gnu11", "-g", "-O1", "-Wall", "-Wextra", "-Werror", "-pthread")
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")
VALGRIND = ("valgrind", "-q", "--error-exitcode=9", "--leak-check=full", "--errors-for-leak-kinds=all")
SLOWER = 20
"""Under valgrind a program takes so many times as long, and does fewer runs."""

TIMEOUT_S = 600


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def run(words: list[str]) -> bool:
    """Run a command; whether it ended well. What it printed is shown."""
    say(shlex.join(words))
    return subprocess.run(words, check=False, timeout=TIMEOUT_S).returncode == 0


def main() -> int:
    """Exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.native.check")
    parser.add_argument("--seed", type=int, default=random.randrange(2**31))
    parser.add_argument("--runs", type=int, default=100_000)
    options = parser.parse_args()
    seed = str(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        plain, sanitized = Path(folder, "plain"), Path(folder, "sanitized")
        for program, flags in ((plain, ()), (sanitized, SANITIZERS)):
            if not run(["cc", *FLAGS, *flags, str(SOURCE), "-o", str(program)]):
                return 1
        found = not run([str(sanitized), seed, str(options.runs)])
        found |= not run([*VALGRIND, str(plain), seed, str(max(1, options.runs // SLOWER))])
    say(f"{'FOUND' if found else 'nothing found'}: --seed {seed} --runs {options.runs}")
    return int(found)


if __name__ == "__main__":
    sys.exit(main())
