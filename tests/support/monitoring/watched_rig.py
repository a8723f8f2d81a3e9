"""Stack for tests of the monitoring commands (``tests/integration/monitoring``)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.support.monitoring.prometheus import Prometheus
from tests.support.rig.rig import Rig, WorkerProcess


@dataclass(slots=True, kw_only=True)
class Watched:
    """The stack; ``config`` is its sigmill.toml, which names the ports of both."""

    rig: Rig
    worker: WorkerProcess
    exporter: WorkerProcess
    prometheus: Prometheus
    config: Path

    @property
    def prometheus_url(self) -> str:
        return f"http://127.0.0.1:{self.prometheus.port}"
