"""A stack that is watched: a worker, the exporter, and a Prometheus that scrapes both. Two tenants."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from queueing.algorithms import KeyKind
from tests.support.ports import free_port
from tests.support.prometheus import PrometheusProcess
from tests.support.redis_process import RedisProcess
from tests.support.rig import Rig, WorkerProcess, until
from tests.support.tokens import TokenShelf
from tests.support.watched import Watched
from workers.dev.child import Child


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory, shelf: TokenShelf) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("watched")
    port = free_port()
    with (
        RedisProcess(folder / "redis", password="watched-redis-password") as redis,
        Rig(
            directory=folder / "rig",
            redis=redis,
            shelf=shelf,
            tenants=dict.fromkeys(("acme", "globex"), KeyKind.P256),
            service=f"\n[exporter]\nport = {port}\ninterval_s = 0.2\n",
        ) as rig,
    ):
        worker = rig.start_worker()
        config = rig.config(1, worker.port)
        command = [sys.executable, "-I", "-m", "workers.cli", "exporter", "--config", str(config)]
        exporter = WorkerProcess(Child("exporter", command, folder / "exporter.log"), port)
        rig.workers.append(exporter)
        targets = [f"127.0.0.1:{each}" for each in (worker.port, port)]
        with PrometheusProcess(folder / "prometheus", targets) as prometheus:
            until(lambda: exporter.ready and prometheus.ready, "exporter and Prometheus are there")
            yield Watched(rig=rig, worker=worker, exporter=exporter, prometheus=prometheus, config=config)
