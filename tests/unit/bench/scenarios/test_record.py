"""Measurement of the record beside the pipeline: the sealer's lag is that of the rounds in which it has something to seal."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from bench.alternation import alternate
from bench.load.flows import Flow, Measured
from bench.scenarios.record import LagSampler, SealedFlow
from workers.record.exchange import SealerStatus, write_status


class FakeFlow:
    """Flow that notes at each round whether the lag is sampled meanwhile."""

    def __init__(self, name: str, seen: list[tuple[str, bool]]) -> None:
        self._name, self._seen = name, seen

    def round(self, seconds: float) -> Measured:
        sampled = any(thread.name == "lag" for thread in threading.enumerate())
        self._seen.append((self._name, sampled))
        return Measured(signatures=1, seconds=seconds)


def sealed_until(state_dir: Path, covered_ns: int) -> None:
    write_status(state_dir, SealerStatus(pid=1, started_ns=0, covered_ns=covered_ns))


def test_the_lag_is_sampled_in_the_rounds_with_a_record_only(tmp_path: Path) -> None:
    """Beside a load that the sealer has nothing of it is always near zero, which makes a 99th percentile of all samples a 98th of those that count."""
    sealed_until(tmp_path, time.monotonic_ns() + 10**12)
    seen: list[tuple[str, bool]] = []
    flows: dict[str, Flow] = {
        "without": FakeFlow("without", seen),
        "with": SealedFlow(FakeFlow("with", seen), LagSampler(tmp_path), tmp_path),
    }
    alternate(flows, None, rounds=2, seconds=1.0)
    assert seen == [("without", False), ("with", True), ("with", True), ("without", False)]
