"""An issuer in processes of its own: real token, real TLS, real provider."""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import signal
import ssl
import subprocess
import sys
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, Self

from queueing.protocol.grants.grant_request import PATH
from tests.support.issuer.provider import TokenProvider
from tests.support.issuer.site import AUDIENCE, TOKEN_AUDIENCE, IssuerSite
from tests.support.ports import free_port
from tests.support.sigmill_cli import environment, sigmill
from tests.support.waiting import until
from workers.dev.trial_tls import write_authority_and_server

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from tests.support.hsm.softhsm import SoftHsm

PIN = "issuer-pin-4711"


class RunningIssuer:
    """Files, provider and processes of one issuer; ``start`` and ``stop`` its front."""

    def __init__(
        self, folder: Path, softhsm: SoftHsm, *, audience: str = AUDIENCE, tenants_dir: Path | None = None
    ) -> None:
        self.folder = folder
        self._own_tenants = tenants_dir is None
        self.port, self.metrics_port = free_port(), free_port()
        write_authority_and_server(folder, host="127.0.0.1")
        self.provider = TokenProvider(f"https://127.0.0.1:{free_port()}", TOKEN_AUDIENCE)
        softhsm.init_token("issuer", pin=PIN)
        pin = folder / "issuer.pin"
        pin.write_text(PIN)
        pin.chmod(0o600)
        self._token = (
            f'module = "{softhsm.module_path}"\nselect = {{ label = "issuer" }}\n'
            f'login = {{ pin_file = "issuer.pin" }}\n'
            f'environment = {{ SOFTHSM2_CONF = "{softhsm.conf_path}" }}'
        )
        self.site = IssuerSite(folder, self.provider, audience=audience, tenants_dir=tenants_dir)
        self.write()
        made = self.run("create-key", "--token", "issuer")
        self.site.spki = base64.b64decode(made["public_key"])
        self._stack = ExitStack()
        self._front: subprocess.Popen[bytes] | None = None
        self._killed_lane = 0

    def write(self, *, issuer: str = "", http: str = "", tables: str = "") -> None:
        """Write the issuer's file with these additions, and the tenant's."""
        self.site.write(
            token=self._token,
            issuer=issuer,
            http=http,
            tables=f'ca_file = "ca.pem"\n{tables}\n[metrics]\nport = {self.metrics_port}\n',
        )
        text = self.site.file.read_text().replace("port = 0\n", f"port = {self.port}\n", 1)
        self.site.file.write_text(text)
        if self._own_tenants:
            self.site.write_tenant()

    def run(self, *words: str) -> dict[str, Any]:
        """Run a command of the issuer; its one JSON line."""
        ran = sigmill("issuer", *words, "--config", self.site.file, "--json")
        assert ran.code == 0, ran
        return ran.json()[0]

    def __enter__(self) -> Self:
        self.write()
        self._stack.enter_context(self.provider.served(self.folder))
        self.run("refresh")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        self._stack.close()

    def start(self) -> None:
        """Start the front, and wait until its lane is logged in.

        Also in its log, which a thread writes: who reads the lane's process id there would get that of the lane before.
        """
        log = self._stack.enter_context((self.folder / "front.log").open("ab"))
        lanes = len(self.events("issuer.lane_ready"))
        self._front = self.spawn("serve", log)
        self.wait_until_ready()
        until(lambda: len(self.events("issuer.lane_ready")) > lanes, "the lane is in the log")

    def wait_until_ready(self) -> None:
        """Wait until the front has a lane."""
        until(self.is_ready, "the issuer is ready")

    def spawn(self, command: str, log: Any, *words: str) -> subprocess.Popen[bytes]:
        """Start a process of the issuer."""
        return subprocess.Popen(
            [sys.executable, "-m", "workers.cli", "issuer", command, "--config", self.site.file, *words],
            stderr=log,
            env=environment(),
        )

    def stop(self) -> int:
        """End the front in order; its exit code."""
        if self._front is None:
            return 0
        self._front.send_signal(signal.SIGTERM)
        code = self._front.wait(30)
        self._front = None
        return code

    def kill(self) -> None:
        """SIGKILL to the front; its lane ends by itself."""
        if self._front is not None:
            self._front.kill()
            self._front.wait()
            self._front = None

    def kill_lane(self) -> None:
        """SIGKILL to the lane that the front has, or had before it was killed itself."""
        self._killed_lane = self._lane()
        with suppress(ProcessLookupError):
            os.kill(self._killed_lane, signal.SIGKILL)

    def wait_for_another_lane(self) -> None:
        """Wait until the front has another lane than the one that was killed."""
        until(lambda: self._lane() != self._killed_lane and self.is_ready(), "another lane")

    @property
    def front_pid(self) -> int:
        """Process id of the front."""
        assert self._front is not None
        return self._front.pid

    def _lane(self) -> int:
        """Process id of the newest lane."""
        return int(self.events("issuer.lane_ready")[-1]["pid"])

    def is_ready(self) -> bool:
        """Whether /readyz says so."""
        assert self._front is not None
        assert self._front.poll() is None, self.log()
        try:
            return self._probe("/readyz")[0] == 200
        except OSError:
            return False

    def metrics(self) -> str:
        """The page of metrics."""
        return self._probe("/metrics")[1]

    def refusals(self) -> dict[str, float]:
        """Requests that were refused, by outcome."""
        counted: dict[str, float] = {}
        for line in self.metrics().splitlines():
            found = re.match(r'sigmill_grants_total\{.*outcome="(\w+)".*\} (\S+)', line)
            if found is not None and found[1] not in {"issued", "checked"}:
                counted[found[1]] = counted.get(found[1], 0) + float(found[2])
        return counted

    def _probe(self, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.metrics_port, timeout=10)
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()

    def log(self) -> str:
        """Log lines of front and lane so far."""
        return (self.folder / "front.log").read_text()

    def events(self, name: str) -> list[dict[str, Any]]:
        """Log lines of this event; a line that a kill cut off has none."""
        lines = [
            json.loads(line) for line in self.log().splitlines() if line.startswith("{") and line[-1] == "}"
        ]
        return [line for line in lines if line["event"] == name]

    def tls(self) -> ssl.SSLContext:
        """TLS of a caller that trusts the issuer's authority."""
        return ssl.create_default_context(cafile=str(self.folder / "ca.pem"))

    def post(
        self, body: bytes, *, path: str = PATH, tls: ssl.SSLContext | None = None, method: str = "POST"
    ) -> tuple[int, dict[str, Any], dict[str, str]]:
        """Send a request; status, document and headers of the answer."""
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self.port, timeout=30, context=tls or self.tls()
        )
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read()), dict(answer.getheaders())
        finally:
            connection.close()
