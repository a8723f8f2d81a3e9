"""A running ``sigmill relay`` over a rig or a farm, with a certificate of its own authority."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import ssl
import sys
from dataclasses import dataclass, field
from pathlib import Path

from msgspec.structs import replace

from queueing import ClientConfig
from tests.support.ports import free_port
from tests.support.waiting import until
from workers.dev.child_process import Child
from workers.dev.trial_tls import write_authority_and_server


@dataclass(slots=True, kw_only=True)
class RelayProcess:
    """A relay for one tenant. ``redis``: the lines of its table; ``client_ca``: file of authorities of the clients; ``more``: lines at the beginning of relay.toml, such as limits."""

    folder: Path
    audience: str
    redis: str
    tenant: str = "acme"
    more: str = ""
    tables: str = ""
    client_ca: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    metrics_port: int = field(default_factory=free_port)
    child: Child | None = None

    @property
    def ca_file(self) -> Path:
        return self.folder / "ca.pem"

    @property
    def config(self) -> Path:
        return self.folder / "relay.toml"

    def write(self) -> None:
        """Write relay.toml and a certificate."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.ca_file.exists():
            write_authority_and_server(self.folder, host="127.0.0.1")
        client_ca = f'client_ca_file = "{self.client_ca}"\n' if self.client_ca else ""
        self.config.write_text(
            f'audience = "{self.audience}"\nhost = "127.0.0.1"\nport = {self.port}\n{self.more}\n'
            f'[tls]\ncertificate_file = "server.pem"\nprivate_key_file = "server.key"\n{client_ca}'
            f"[metrics]\nport = {self.metrics_port}\n{self.tables}\n"
            f"[tenants.{self.tenant}.redis]\n{self.redis}\n"
        )

    def start(self) -> None:
        """Start it, and wait until it takes requests."""
        self.write()
        words = [sys.executable, "-I", "-m", "workers.cli", "relay", "--config", str(self.config)]
        self.child = child = Child("relay", words, self.folder / "relay.log", self.environment)
        until(lambda: child.exit_code is not None or self.answers(), "the relay takes requests")
        assert child.exit_code is None, child.log_tail(30)

    def stop(self) -> int:
        """SIGTERM, and its exit code."""
        assert self.child is not None
        return self.child.stop(30.0)

    def kill(self) -> None:
        """SIGKILL."""
        if self.child is not None:
            self.child.kill()

    def answers(self) -> bool:
        """Whether its health endpoint answers; of a relay that wants certificates, whether it has started."""
        if self.client_ca:
            return "relay.started" in self.events()
        try:
            return self.get("/v1/health")[0] == http.client.OK
        except OSError:
            return False

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and body, over a connection of its own."""
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=10.0, context=self.tls())
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.ca_file))

    async def exchange(self, raw: bytes) -> bytes:
        """Send bytes as they are, and read until the relay closes the connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=self.tls())
        try:
            writer.write(raw)
            return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.transport.abort()

    def metric(self, line: str) -> float:
        """Value of the sample that the exposition has under this name and labels; 0 where it is not there."""
        connection = http.client.HTTPConnection("127.0.0.1", self.metrics_port, timeout=10.0)
        try:
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
        finally:
            connection.close()
        whole = (f"{line} ", f"{line}{{")  # not another metric whose name begins with this one
        return sum(float(each.split()[-1]) for each in text.splitlines() if each.startswith(whole))

    def events(self) -> list[str]:
        """Its log events."""
        lines = (self.folder / "relay.log").read_text().splitlines()
        return [json.loads(line)["event"] for line in lines if line.startswith("{")]

    @property
    def rss_mib(self) -> float:
        assert self.child is not None
        (line,) = [
            each
            for each in Path(f"/proc/{self.child.pid}/status").read_text().splitlines()
            if each.startswith("VmRSS")
        ]
        return int(line.split()[1]) / 1024

    @property
    def cpu_s(self) -> float:
        assert self.child is not None
        fields = Path(f"/proc/{self.child.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def client_config(self, config: ClientConfig) -> ClientConfig:
        """The configuration of a client that has a URL and a CA file instead of Redis."""
        return replace(config, redis=None, url=f"https://127.0.0.1:{self.port}", ca_file=str(self.ca_file))
