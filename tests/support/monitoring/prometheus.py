"""Prometheus, the exporter and a browser of a test's own, to watch a rig as operators do."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops.generate.prometheus.clock import Clock
from ops.generate.prometheus.rules import files
from tests.support.monitoring.promql import ROOT
from tests.support.ports import free_port
from tests.support.rig.rig import Rig, WorkerProcess
from tests.support.tools import tool
from tests.support.waiting import until
from workers.dev.child_process import Child

SCRAPE_S = 0.5


@dataclass(frozen=True, slots=True)
class Firing:
    """An alert that fires: its name and the labels that say for what."""

    name: str
    labels: frozenset[tuple[str, str]]

    def about(self, **labels: str) -> bool:
        return labels.items() <= dict(self.labels).items()


@dataclass(slots=True)
class Prometheus:
    """A running server with our rules by a drill's clock."""

    child: Child
    port: int

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of a page."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20.0)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def ask(self, path: str, **parameters: str) -> Any:
        """The data of an answer of its API."""
        status, body = self.get(f"/api/v1/{path}?{urllib.parse.urlencode(parameters)}")
        assert status == http.client.OK, body
        return json.loads(body)["data"]

    @property
    def ready(self) -> bool:
        try:
            return self.get("/-/ready")[0] == http.client.OK
        except OSError:
            return False

    def value(self, expr: str) -> float:
        """The sum of what an expression gives now."""
        return float(sum(float(each["value"][1]) for each in self.ask("query", query=expr)["result"]))

    def points(self, expr: str, *, last_s: float = 300.0) -> list[float]:
        """Every number that a graph of this expression would show."""
        now = time.time()
        start, end = f"{now - last_s:.3f}", f"{now:.3f}"
        found = self.ask("query_range", query=expr, start=start, end=end, step="1")["result"]
        values = [float(value) for series in found for _, value in series["values"]]
        return [value for value in values if value - value == 0]  # neither NaN nor infinite

    def firing(self) -> set[Firing]:
        """All alerts that fire now."""
        return {
            Firing(alert["labels"]["alertname"], frozenset(alert["labels"].items()))
            for alert in self.ask("alerts")["alerts"]
            if alert["state"] == "firing"
        }

    def fires(self, name: str, **labels: str) -> bool:
        return any(alert.name == name and alert.about(**labels) for alert in self.firing())

    def page(self, name: str, **parameters: str) -> str:
        """The address of a console page."""
        return f"http://127.0.0.1:{self.port}/consoles/{name}?{urllib.parse.urlencode(parameters)}"


def start_exporter(rig: Rig, *, interval_s: float = 0.3) -> WorkerProcess:
    """``sigmill exporter`` for the rig; workers that are started later have its table in their files too."""
    port = free_port()
    rig.service += f"\n[exporter]\nport = {port}\ninterval_s = {interval_s}\n"
    command = [sys.executable, "-I", "-m", "workers.cli", "exporter", "--config", str(rig.config())]
    exporter = WorkerProcess(Child("exporter", command, rig.directory / "exporter.log"), port)
    rig.workers.append(exporter)
    until(lambda: exporter.ready, "the exporter has seen Redis")
    return exporter


@contextmanager
def start_prometheus(folder: Path, clock: Clock, **ports: int) -> Iterator[Prometheus]:
    """A server that scrapes these jobs (``sigmill_worker`` for ``sigmill-worker``) twice a second."""
    folder.mkdir()
    for path, text in files(clock).items():
        (folder / Path(path).name).write_text(text)
    jobs = [
        {"job_name": job.replace("_", "-"), "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
        for job, port in ports.items()
    ]
    settings = {
        "global": {
            "scrape_interval": f"{SCRAPE_S * 1000:.0f}ms",
            "evaluation_interval": f"{SCRAPE_S * 1000:.0f}ms",
        },
        "rule_files": ["*.rules.yml"],
        "scrape_configs": jobs,
    }
    (folder / "prometheus.yml").write_text(json.dumps(settings))
    port = free_port()
    child = Child(
        "prometheus",
        [
            tool("prometheus"),
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            f"--web.console.templates={ROOT / 'ops/prometheus/consoles'}",
            f"--web.console.libraries={folder}",
            "--log.level=warn",
        ],
        folder / "prometheus.log",
    )
    made = Prometheus(child, port)
    try:
        until(lambda: made.ready or child.exit_code is not None, "Prometheus answers")
        assert child.exit_code is None, child.log_tail()
        yield made
    finally:
        child.stop(10)


def browse(address: str, folder: Path, *, picture: Path) -> str:
    """The page as a headless Chromium has it when it has loaded and drawn; a picture of it is written."""
    words = [
        tool("chromium"),
        "--headless",
        "--no-sandbox",  # as root there is none, and the page is ours
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
        f"--user-data-dir={folder / 'chromium'}",
        "--window-size=1280,1500",
        "--virtual-time-budget=8000",  # of the page's own time; requests are waited for
        f"--screenshot={picture}",
        "--dump-dom",
        address,
    ]
    left = 3  # on a machine that is short of memory Chromium itself crashes now and then
    while True:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=90)
        left -= 1
        if done.returncode == 0:
            return done.stdout
        assert left, done.stderr[-2000:]
