"""A private Prometheus that scrapes what a test tells it to, five times a second."""

from __future__ import annotations

import http.client
from pathlib import Path
from typing import Self

from tests.support.ports import free_port
from tests.support.tools import tool
from workers.dev.child import Child

_CONFIG = """\
global: {{ scrape_interval: 200ms, evaluation_interval: 200ms }}
scrape_configs:
  - job_name: sigmill
    static_configs: [{{ targets: [{targets}] }}]
"""


class PrometheusProcess:
    """Started by ``with``; ``targets`` are host:port."""

    def __init__(self, directory: Path, targets: list[str]) -> None:
        self._directory = directory
        self._targets = targets
        self.port = free_port()
        self._child: Child | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._directory.mkdir(parents=True)
        config = self._directory / "prometheus.yml"
        config.write_text(_CONFIG.format(targets=", ".join(f'"{target}"' for target in self._targets)))
        command = [tool("prometheus"), f"--config.file={config}"]
        command += [f"--storage.tsdb.path={self._directory / 'data'}"]
        command += [f"--web.listen-address=127.0.0.1:{self.port}"]
        self._child = Child("prometheus", command, self._directory / "prometheus.log")
        return self

    def __exit__(self, *_: object) -> None:
        if self._child is not None:
            self._child.kill()

    @property
    def ready(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5.0)
        try:
            connection.request("GET", "/-/ready")
            return connection.getresponse().status == http.client.OK
        except OSError:
            return False
        finally:
            connection.close()
