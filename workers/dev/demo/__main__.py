"""The run of the demonstration.

Three tenants sign the SHA-256 of real files with three kinds of key, through the real client, queue, worker and
lanes. Every signature is verified independently of our code. Then everything is stopped and the counts are written.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import signal
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import uvloop

from queueing.errors import SigningError
from queueing.protocol.algorithms import DEFAULT_FOR_KEY
from workers.dev.demo.progress import TICK_S, Progress
from workers.dev.demo.sample_files import sha256_of_files
from workers.dev.demo.stray_processes import adopt_orphans, remaining
from workers.dev.demo.summary import Tally, summary
from workers.dev.demo.tenant import sign_and_verify
from workers.dev.redis_server import RedisDidNotStart, RedisEnded
from workers.dev.softhsm import SoftHsmFailed
from workers.dev.stack import Stack
from workers.dev.tenants import TENANTS
from workers.dev.worker_process import WorkerFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROOTS: Final = (Path("/usr/bin"), Path("/usr/lib"))
_MOST: Final = 20_000
_OUT: Final = Path("build/demo")


def main(arguments: list[str]) -> int:
    """Run the demonstration; 0 only if every digest was signed and verified and no process is left."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _terminate)
    adopt_orphans()
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    digests = sha256_of_files(_ROOTS, options.most)
    hashed = time.monotonic()
    _print(f"hashed {len(digests):,} files in {hashed - started:.1f} s; starting Redis, tokens and workers")
    try:
        with _scratch(out) as directory, Stack(directory, workers=options.workers) as stack:
            ready = time.monotonic()
            _print(f"ready after {ready - hashed:.1f} s")
            tallies = _sign(stack, digests)
    except (RedisEnded, WorkerFailed, RedisDidNotStart, SoftHsmFailed, SigningError) as error:
        _print(f"error: {error}\nhint: the logs are in {out / 'logs'}")
        return 1
    left = remaining()
    figures = {
        **summary(tallies),
        "hashing_s": round(hashed - started, 3),
        "start_s": round(ready - hashed, 3),
        "left_running": left,
    }
    return _report(out, figures)


def _sign(stack: Stack, digests: list[bytes]) -> list[Tally]:
    shares = {tenant.name: digests[i :: len(TENANTS)] for i, tenant in enumerate(TENANTS)}
    tallies = [
        Tally(tenant=t.name, algorithm=DEFAULT_FOR_KEY[t.kind], digests=len(shares[t.name])) for t in TENANTS
    ]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_sign_all(stack, shares, tallies))
    return tallies


async def _sign_all(stack: Stack, shares: dict[str, list[bytes]], tallies: list[Tally]) -> None:
    progress = Progress(sum(tally.digests for tally in tallies))
    started = time.monotonic()
    work = asyncio.gather(
        *(
            sign_and_verify(
                stack.clients[tally.tenant],
                stack.public_keys[tally.tenant],
                shares[tally.tenant],
                tally,
                started,
            )
            for tally in tallies
        )
    )
    try:
        while not work.done():
            stack.check()
            progress.show(sum(tally.done for tally in tallies))
            await asyncio.wait((work,), timeout=TICK_S)
    finally:
        work.cancel()
    await work
    progress.show(sum(tally.done for tally in tallies), last=True)


def _report(out: Path, figures: dict[str, Any]) -> int:
    (out / "summary.json").write_text(json.dumps(figures, indent=2) + "\n", "utf-8")
    for tenant, row in figures["tenants"].items():
        _print(
            f"{tenant:8} {row['algorithm']:26} {row['signed']:6,} signed  {row['verified']:6,} verified  "
            f"{row['failed']:3} failed  {row['signatures_per_s']:8,.1f}/s"
        )
    _print(
        f"{'all':35} {figures['signed']:6,} signed  {figures['verified']:6,} verified  "
        f"{figures['failed']:3} failed  {figures['signatures_per_s']:8,.1f}/s in {figures['elapsed_s']:.1f} s"
    )
    for process in figures["left_running"]:
        _print(f"error: still running: {process}")
    _print(f"written: {out / 'summary.json'}")
    complete = figures["signed"] == figures["verified"] == figures["digests"] > 0
    return 0 if complete and not figures["failed"] and not figures["left_running"] else 1


@contextmanager
def _scratch(out: Path) -> Iterator[Path]:
    """A private directory with a short path. Its logs are copied to ``out``; the rest is removed."""
    directory = Path(tempfile.mkdtemp(prefix="sigmill-"))
    try:
        yield directory
    finally:
        shutil.rmtree(out / "logs", ignore_errors=True)
        if (directory / "logs").exists():
            shutil.copytree(directory / "logs", out / "logs")
        shutil.rmtree(directory, ignore_errors=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m workers.dev.demo", description=__doc__)
    parser.add_argument(
        "--most", type=int, default=_MOST, help="maximum number of files to sign (%(default)s)"
    )
    parser.add_argument("--workers", type=int, default=1, help="number of worker processes (%(default)s)")
    parser.add_argument(
        "--out", type=Path, default=_OUT, help="directory for summary.json and logs (%(default)s)"
    )
    return parser


def _print(text: str) -> None:
    print(text, file=sys.stderr)


def _terminate(*_: object) -> NoReturn:
    raise SystemExit(128 + signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
