"""What a test of the watching commands is given (``tests/integration/watching``)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.support.prometheus import PrometheusProcess
from tests.support.rig import Rig, WorkerProcess


@dataclass(slots=True, kw_only=True)
class Watched:
    """The stack; ``config`` is its sigmill.toml, which names the ports of both."""

    rig: Rig
    worker: WorkerProcess
    exporter: WorkerProcess
    prometheus: PrometheusProcess
    config: Path
