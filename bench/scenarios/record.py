"""The record beside the pipeline: what it costs signing, how far it is behind, and what it costs to keep and to verify.

Rounds with and without it alternate, on two stacks with the same keys. What happens to a log afterwards (export, verification,
receipts) is measured on one that was sealed from real envelopes (``bench.scenarios.record_costs``).
"""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import msgspec

from bench.alternation import against, alternate
from bench.load.flows import SigmillFlow, in_envelopes, load_process
from bench.load.messages import Paced
from bench.measurement.machine import load_average
from bench.measurement.procfs import PROC, process_stat
from bench.report.data import at_least, at_most
from bench.scenarios import record_costs
from bench.scenarios.record_costs import Costs
from bench.testbed.config_files import BenchTenant
from queueing.protocol.algorithms import KeyKind
from workers.record.exchange import read_status

if TYPE_CHECKING:
    from bench.load.flows import Flow, Measured
    from bench.load.supervisor import LoadProcess
    from bench.session import Session
    from bench.testbed.testbed import BenchTestbed

SHARE: Final = 0.90
SEALER_US: Final = {64: 8.0, 1: 50.0}
"""CPU of the sealer for each signature, by digests in an envelope."""

IDLE_P99_MS: Final = 0.5
LAG_P99_S: Final = 2.0
VERIFY_PER_S: Final = 300_000.0
VERIFY_WITH_CLIENTS_PER_S: Final = 100_000.0
VERIFY_MB: Final = 200.0
EXPORT_PER_S: Final = 200_000.0
RECEIPT_BYTES: Final = 2500.0
BYTES_PER_SIGNATURE: Final = 80.0

ENABLED: Final = "[record]\nenabled = true\n"
IDLE_PAUSE_S: Final = 0.02
_IDLE_ROUNDS: Final = 4
_SAMPLE_S: Final = 0.05


class LagSampler:
    """Samples how far a sealer is behind, twenty times a second, from its own status. A context manager, to be entered again and again."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.samples_s: list[float] = []

    def __enter__(self) -> Self:
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, name="lag")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def p99_s(self) -> float:
        """The 99th percentile of the samples."""
        return statistics.quantiles(self.samples_s, n=100)[-1]

    def _run(self) -> None:
        while not self._stop.wait(_SAMPLE_S):
            status = read_status(self._state_dir)
            if status is not None and status.covered_ns is not None:
                self.samples_s.append(status.lag_s(time.monotonic_ns()))


class SealedFlow:
    """A flow of a host with a record. Its lag is sampled in its own rounds, each until all of it is sealed."""

    def __init__(self, flow: Flow, lag: LagSampler, state_dir: Path) -> None:
        self._flow = flow
        self._lag = lag
        self._state_dir = state_dir

    def round(self, seconds: float) -> Measured:
        """Run for about so long; the wait for the seal is not in what is measured, nor beside the next flow."""
        with self._lag:
            measured = self._flow.round(seconds)
            _until_sealed(self._state_dir)
        return measured


def record(session: Session) -> None:
    """Measure with and without a record in turn, at 64 to an envelope, at one, and at idle; then the growth of a log."""
    tenant = BenchTenant(name="p256", kind=KeyKind.P256, verify_after_sign=False)
    with contextlib.ExitStack() as stack:
        without = stack.enter_context(session.testbed([tenant]))
        with_record = stack.enter_context(session.testbed([tenant], service=ENABLED))
        for size in SEALER_US:
            _throughput(session, with_record, without, tenant, size)
        _idle(session, with_record, without, tenant)
    _costs(session)


def _throughput(
    session: Session, with_record: BenchTestbed, without: BenchTestbed, tenant: BenchTenant, size: int
) -> None:
    state_dir = with_record.state_dir
    lag = LagSampler(state_dir)
    with contextlib.ExitStack() as stack:
        order = in_envelopes(size, clients=1 if size > 1 else 16)
        ours = stack.enter_context(SigmillFlow(with_record, tenant.name, order))
        flows: dict[str, Flow] = {
            "without": stack.enter_context(SigmillFlow(without, tenant.name, order)),
            "with": SealedFlow(ours, lag, state_dir),
        }
        sealer = _sealer_of(with_record)
        _until_sealed(state_dir)  # what the flow has signed to warm up is not in its rounds
        before_s = process_stat(sealer).cpu_s
        found = alternate(flows, None, rounds=session.pace.rounds, seconds=session.pace.seconds)
        used_s = process_stat(sealer).cpu_s - before_s
    signatures = sum(each.signatures for each in found["with"].rounds)
    note = load_average()
    ratio = against(found["with"], found["without"])
    name = f"record: throughput at {size} an envelope, share of that without"
    session.threshold(at_least(name, ratio, SHARE, note=note))
    cpu_us = 1e6 * used_s / signatures
    name = f"record: CPU of the sealer at {size} an envelope"
    session.threshold(at_most(name, cpu_us, SEALER_US[size], unit="us/signature", note=note))
    if size > 1:
        p99_s = lag.p99_s()
        session.threshold(
            at_most("record: lag of the seal at full load, p99", p99_s, LAG_P99_S, unit="s", note=note)
        )


def _sealer_of(testbed: BenchTestbed) -> int:
    for pid in testbed.lane_pids():
        if b"sealer" in (PROC / str(pid) / "cmdline").read_bytes().split(b"\0"):
            return pid
    raise RuntimeError("no sealer runs beside the worker")


def _until_sealed(state_dir: Path) -> None:
    """Wait until all that was durable by now is sealed: its CPU belongs to the rounds before."""
    by_now = time.monotonic_ns()
    deadline = time.monotonic() + 60
    while (status := read_status(state_dir)) is None or (status.covered_ns or 0) < by_now:
        if time.monotonic() > deadline:
            raise RuntimeError("the sealer does not come to the end")
        time.sleep(_SAMPLE_S)


def _idle(session: Session, with_record: BenchTestbed, without: BenchTestbed, tenant: BenchTenant) -> None:
    count = 800 if session.pace.wide else 200
    with load_process(without, tenant) as other, load_process(with_record, tenant) as ours:
        for load in (other, ours):
            _p99_ms(load, 50, pause_s=0.0)
        differences = []
        for _ in range(_IDLE_ROUNDS):
            first = _p99_ms(other, count)
            differences.append(_p99_ms(ours, count) - (first + _p99_ms(other, count)) / 2)
    session.threshold(
        at_most(
            "record: one digest at idle, p99 beyond that without",
            statistics.median(differences),
            IDLE_P99_MS,
            unit="ms",
        )
    )


def _p99_ms(load: LoadProcess, count: int, *, pause_s: float = IDLE_PAUSE_S) -> float:
    load.order(Paced(digests=count, pause_s=pause_s))
    latency = load.answer().latency
    assert latency is not None
    return latency.p99_ms


def _costs(session: Session) -> None:
    """Bytes, export, receipt and verification of a sealed log, per second of CPU."""
    folder = session.directory / "record"
    folder.mkdir()
    epoch_key, client = record_costs.make_log(folder)
    exported = record_costs.export_costs(folder)
    receipt = float(len(record_costs.receipt_of_last(folder)))
    keys = epoch_key.private_bytes_raw().hex(), client.public_spki.hex()
    hashes, clients = _verified(folder, keys[0]), _verified(folder, *keys)
    for threshold in (
        at_most("record: disk space at 64 an envelope", exported.bytes_per_signature, BYTES_PER_SIGNATURE, unit="bytes/signature"),
        at_least("record: export", _rate(exported), EXPORT_PER_S, unit="signatures/s of CPU"),
        at_most("record: a receipt", receipt, RECEIPT_BYTES, unit="bytes"),
        at_least("record: verification", _rate(hashes), VERIFY_PER_S, unit="signatures/s of CPU"),
        at_least("record: verification with client signatures", _rate(clients), VERIFY_WITH_CLIENTS_PER_S, unit="signatures/s of CPU"),
        at_most("record: memory of the verification", max(hashes.memory_mb, clients.memory_mb), VERIFY_MB, unit="MB"),
    ):  # fmt: skip
        session.threshold(threshold)


def _rate(costs: Costs) -> float:
    return costs.signatures / costs.cpu_s


def _verified(folder: Path, *keys: str) -> Costs:
    """Verify in a process of its own, so that its memory is known."""
    command = [sys.executable, "-m", "bench.scenarios.record_costs", str(folder), *keys]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    return msgspec.json.decode(done.stdout, type=Costs)
