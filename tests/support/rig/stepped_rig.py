"""Rig whose client, worker, lanes and Redis each have a clock that a test sets while they run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from queueing import SigningClient
from queueing.unix_time import unix_ms
from tests.support.clocks.stepped_clock import SteppedClock
from tests.support.rig.rig import Rig
from tests.support.rig.stepped_worker import lane_clock_environment


@dataclass(slots=True)
class ClientClock:
    """Wall clock of clients in this process."""

    ahead_s: int = 0

    def set_ahead_s(self, seconds: int) -> None:
        self.ahead_s = seconds

    def now_ms(self) -> int:
        return unix_ms() + self.ahead_s * 1000


@dataclass(slots=True)
class Clocks:
    """The four clocks; Redis' is that of a server which the test starts with its environment."""

    worker: SteppedClock
    lane: SteppedClock
    redis: SteppedClock
    client: ClientClock = field(default_factory=ClientClock)

    @classmethod
    def in_folder(cls, folder: Path) -> Clocks:
        """Four clocks that are right."""
        worker, lane, redis = (SteppedClock(folder / name) for name in ("worker", "lane", "redis"))
        return cls(worker, lane, redis)

    def set_ahead_s(self, whose: str, seconds: int) -> None:
        """Set the clock of ``client``, ``worker``, ``lane`` or ``redis``; of ``host``, those of worker and lanes together."""
        for name in ("worker", "lane") if whose == "host" else (whose,):
            getattr(self, name).set_ahead_s(seconds)


@dataclass(kw_only=True)
class SteppedRig(Rig):
    """Worker, lanes and clients with these clocks."""

    clocks: Clocks

    def program(self, number: int) -> list[str]:
        return ["-I", str(Path(__file__).with_name("stepped_worker.py"))]

    @property
    def environment(self) -> dict[str, str]:
        return {**self.clocks.worker.environment(), **lane_clock_environment(self.clocks.lane)}

    def client(self, tenant: str = "acme") -> SigningClient:
        return SigningClient(self.client_config(tenant), self.keys[tenant], now_ms=self.clocks.client.now_ms)
