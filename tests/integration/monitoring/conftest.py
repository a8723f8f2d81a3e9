"""A stack that is watched: a worker, the exporter, and a Prometheus that scrapes both. Two tenants."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ops.generate.prometheus.clock import Clock
from queueing.protocol.algorithms import KeyKind
from tests.support.hsm.tokens import TokenShelf
from tests.support.monitoring.prometheus import start_exporter, start_prometheus
from tests.support.monitoring.watched_rig import Watched
from tests.support.redis.process import RedisProcess
from tests.support.rig.rig import Rig


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory, shelf: TokenShelf) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("watched")
    with (
        RedisProcess(folder / "redis", password="watched-redis-password") as redis,
        Rig(
            directory=folder / "rig",
            redis=redis,
            shelf=shelf,
            tenants=dict.fromkeys(("acme", "globex"), KeyKind.P256),
        ) as rig,
    ):
        exporter = start_exporter(rig)
        worker = rig.start_worker()
        config = rig.config(1, worker.port)
        ports = {"sigmill_worker": worker.port, "sigmill_exporter": exporter.port}
        with start_prometheus(folder / "prometheus", Clock(), **ports) as prometheus:
            yield Watched(rig=rig, worker=worker, exporter=exporter, prometheus=prometheus, config=config)
