"""The module ceiling: the best that a PKCS#11 module does on this machine with nothing else in the way.

A probe (``bench.ceiling.probe``) is one way to drive it: a loop (C or python-pkcs11), so many threads with a session
each, in so many processes. Probes stay open between rounds, so their rounds can alternate with one another and with
whatever is compared to them; on a shared machine only such ratios count.

    python -m bench.ceiling.measure --module M --token T --key K --pin-file F --kind P256 [--rounds 5] [--seconds 0.5]
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, Self

import msgspec

from bench.ceiling.probe import CeilingProbe, Drive, Loop, Round, Target
from bench.native.build import BUILD_DIRECTORY
from queueing.protocol.algorithms import KeyKind


class ProbeResult(msgspec.Struct, frozen=True, kw_only=True):
    """All rounds of one probe."""

    loop: Loop
    threads: int
    processes: int
    verify: bool
    pinned: bool
    rounds: int
    median_per_s: float
    best_per_s: float
    cpu_us_per_signature: float


class Ceiling(msgspec.Struct, frozen=True, kw_only=True):
    """The best median of all probes, and where it was found."""

    kind: str
    per_s: float
    at: str
    probes: list[ProbeResult]


def drives(
    loops: Iterable[Loop] = Loop,
    threads: Sequence[int] = (1, 2, 4),
    processes: Sequence[int] = (1, 2),
    *,
    verify: bool = False,
) -> list[Drive]:
    """The grid of drives; by default all that a small machine needs."""
    return [
        Drive(loop=loop, threads=t, processes=p, verify=verify)
        for loop in loops
        for p in processes
        for t in threads
    ]


QUICK_DRIVES: Final = (  # where the full grid found its best on two cores, for every kind of key
    Drive(loop=Loop.C, threads=1, processes=2),
    Drive(loop=Loop.C, threads=2, processes=1),
    Drive(loop=Loop.C, threads=2, processes=2),
    Drive(loop=Loop.PYTHON, threads=1, processes=2),
)


class CeilingSession:
    """Several probes of one target, open together, their rounds in turn. A context manager.

    ``round`` gives every probe one round, so a harness can place its own measurement between calls;
    ``keep_best`` closes all but the best few after a first look; ``result`` is the median so far.
    """

    def __init__(
        self,
        target: Target,
        drives_: Sequence[Drive] = QUICK_DRIVES,
        *,
        build_directory: Path = BUILD_DIRECTORY,
    ) -> None:
        self.target = target
        self._probes = [CeilingProbe(target, drive, build_directory=build_directory) for drive in drives_]
        self._rounds: dict[Drive, list[Round]] = {drive: [] for drive in drives_}
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            for probe in self._probes:
                stack.enter_context(probe)
            self._open = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def round(self, seconds: float) -> float:
        """One round of each probe, in an order that shifts by one each time; the best rate of them."""
        best = 0.0
        for probe in self._probes:
            outcome = probe.round(seconds)
            self._rounds[probe.drive].append(outcome)
            best = max(best, outcome.rate_per_s)
        self._probes.append(self._probes.pop(0))
        return best

    def keep_best(self, count: int) -> None:
        """Close all probes but the ``count`` best by median; what the others did stays in the result."""
        ranked = sorted(self._probes, key=lambda probe: -_median(self._rounds[probe.drive]))
        for probe in ranked[count:]:
            probe.close()
        self._probes = ranked[:count]

    @property
    def drives(self) -> list[Drive]:
        """The drives that are still open."""
        return [probe.drive for probe in self._probes]

    def best_rates(self, last: int) -> list[float]:
        """Signatures a second of the drive with the best median, in each of the ``last`` rounds.

        One drive for all of them: the best of each round would be the luckiest.
        """
        recent = {probe.drive: self._rounds[probe.drive][-last:] for probe in self._probes}
        best = max(recent.values(), key=_median)
        return [outcome.rate_per_s for outcome in best]

    def result(self, *, verify: bool = False) -> Ceiling:
        """The ceiling by the rounds so far, of the drives that verify or of those that do not.

        Raises ``ValueError`` where none of them had a round.
        """
        measured = {
            drive: rounds for drive, rounds in self._rounds.items() if rounds and drive.verify == verify
        }
        if not measured:
            raise ValueError("no round was measured")
        best = max(measured, key=lambda drive: _median(measured[drive]))
        return Ceiling(
            kind=str(self.target.kind),
            per_s=_median(measured[best]),
            at=str(best),
            probes=[_result(drive, rounds) for drive, rounds in measured.items()],
        )


def measure_ceiling(
    target: Target,
    drives_: Sequence[Drive] | None = None,
    *,
    rounds: int = 5,
    seconds: float = 0.5,
    build_directory: Path = BUILD_DIRECTORY,
) -> Ceiling:
    """The ceiling of one key by alternating rounds over the grid. Takes drives x rounds x seconds.

    The drives all verify, or none does.
    """
    grid = list(drives_ or drives())
    with CeilingSession(target, grid, build_directory=build_directory) as session:
        for _ in range(rounds):
            session.round(seconds)
        return session.result(verify=grid[0].verify)


def _median(rounds: Sequence[Round]) -> float:
    return statistics.median(outcome.rate_per_s for outcome in rounds) if rounds else 0.0


def _result(drive: Drive, rounds: Sequence[Round]) -> ProbeResult:
    signatures = sum(outcome.signatures for outcome in rounds)
    return ProbeResult(
        loop=drive.loop,
        threads=drive.threads,
        processes=drive.processes,
        verify=drive.verify,
        pinned=drive.pinned,
        rounds=len(rounds),
        median_per_s=_median(rounds),
        best_per_s=max(outcome.rate_per_s for outcome in rounds),
        cpu_us_per_signature=1e6 * sum(outcome.cpu_s for outcome in rounds) / max(1, signatures),
    )


def main() -> None:
    """Measure one key and print the result as JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.ceiling.measure", description=__doc__.splitlines()[0]
    )
    for name in ("module", "token", "key", "pin-file"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--kind", type=KeyKind, choices=list(KeyKind), required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--verify", action="store_true")
    options = parser.parse_args()
    target = Target(
        module=Path(options.module),
        token=options.token,
        key=options.key,
        kind=options.kind,
        pin_file=Path(options.pin_file),
    )
    grid = drives(verify=options.verify)
    ceiling = measure_ceiling(target, grid, rounds=options.rounds, seconds=options.seconds)
    print(msgspec.json.format(msgspec.json.encode(ceiling)).decode())


if __name__ == "__main__":
    main()
