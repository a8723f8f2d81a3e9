"""A flow is something that can be run for a while, again and again, and tells what a while came to."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol, Self

from bench.load.messages import Burst, Coalesced, Done, Order, Paced
from bench.load.supervisor import LoadProcess, all_together
from bench.measurement.cpu import CpuMeter, cpu_between
from queueing.protocol.algorithms import FACTS

if TYPE_CHECKING:
    from bench.testbed.config_files import BenchTenant, ClientFiles
    from bench.testbed.testbed import BenchTestbed

WARM_DIGESTS: Final = 128
FIRST_RATE_PER_S: Final = 100.0
"""Assumed before the first burst; the second is sized by what the first reached."""

_IDLE_PAUSE_S: Final = 0.02


class FlowFailed(RuntimeError):
    """Digests were not signed: there is nothing to measure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One round: CPU seconds by process group, and round trips of clients and workers to Redis."""

    signatures: int
    seconds: float
    cpu_s: dict[str, float] = field(default_factory=dict)
    round_trips: int = 0

    @property
    def per_s(self) -> float:
        """Signatures a second."""
        return self.signatures / self.seconds


class Flow(Protocol):
    """A load that can be measured in rounds."""

    def round(self, seconds: float) -> Measured:
        """Run for about so long."""


OrderFor = Callable[[int], Order]


def in_envelopes(size: int, *, clients: int = 1) -> OrderFor:
    """Whole envelopes of ``size``, the same number for each client."""

    def order(digests: int) -> Order:
        step = size * clients
        return Burst(digests=-(-digests // step) * step, size=size, clients=clients)

    return order


def coalesced(callers: int) -> OrderFor:
    """Single ``sign()`` calls that share a client."""
    return lambda digests: Coalesced(digests=max(digests, callers), callers=callers)


class SigmillFlow:
    """The whole way of a digest on a testbed, from ``processes`` load processes. A context manager.

    A round is a fixed amount of work, sized to take the wished time by what earlier rounds reached; its clock
    runs from the first submit to the last answer, so filling and draining the pipeline are in it. ``files``: of the client,
    other than the testbed's.
    """

    def __init__(
        self,
        testbed: BenchTestbed,
        tenant: str,
        order_for: OrderFor,
        *,
        processes: int = 1,
        files: ClientFiles | None = None,
    ) -> None:
        self._testbed = testbed
        self._tenant: BenchTenant = testbed.tenants[tenant]
        self._order_for = order_for
        self._count = processes
        self._files = files
        self._loads: list[LoadProcess] = []
        self._rate_per_s = FIRST_RATE_PER_S
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            for number in range(self._count):
                load = load_process(self._testbed, self._tenant, number, files=self._files)
                self._loads.append(stack.enter_context(load))
            self._warm_up()
            self._open = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def round(self, seconds: float) -> Measured:
        """Sign for about so long."""
        share = max(1, round(self._rate_per_s * seconds / self._count))
        meter = CpuMeter(
            {
                "client": [load.pid for load in self._loads],
                "redis": [self._testbed.redis.pid],
                "worker": self._testbed.worker_pids,
                "lane": self._testbed.lane_pids,
            }
        )
        round_trips, before = self._testbed.redis.round_trips(), meter.snapshot()
        done = self._do(self._order_for(share))
        used = cpu_between(before, meter.snapshot())
        self._rate_per_s = done.signatures / done.seconds
        return Measured(
            signatures=done.signatures,
            seconds=done.seconds,
            cpu_s=used,
            round_trips=self._testbed.redis.round_trips() - round_trips - 1,  # the second question is ours
        )

    def _warm_up(self) -> None:
        """Every signature of the first ones is verified; then the rate is found, and all lanes are up."""
        if self._tenant.simulated is None:
            self._loads[0].order(Burst(digests=WARM_DIGESTS, size=64, verify=True))
            _check(self._loads[0].answer())
        for seconds in (0.3, 0.5):
            self.round(seconds)

    def _do(self, order: Order) -> Done:
        done = all_together(self._loads, order)
        self._testbed.check()
        _check(done)
        return done


def load_process(
    testbed: BenchTestbed, tenant: BenchTenant, number: int = 0, *, files: ClientFiles | None = None
) -> LoadProcess:
    """A process that has the client of this tenant. ``files``: another configuration than the testbed's."""
    files = files or testbed.clients[tenant.name]
    command = [
        "-m",
        "bench.load.client_process",
        "--trusting",
        str(files.trusting),
        "--verifying",
        str(files.verifying),
    ]
    command += ["--digest-bytes", str(min(FACTS[tenant.algorithm].digest_lengths))]
    return LoadProcess(command, testbed.directory / "logs" / f"load-{tenant.name}-{number}.log")


def paced_p50_ms(load: LoadProcess, count: int) -> float:
    """Median latency of so many digests, one at a time."""
    load.order(Paced(digests=count, pause_s=_IDLE_PAUSE_S))
    latency = load.answer().latency
    assert latency is not None
    return latency.p50_ms


def _check(done: Done) -> None:
    if done.failures or not done.signatures:
        raise FlowFailed(f"digests were not signed: {done.failures or 'none at all'}")
