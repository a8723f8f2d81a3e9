"""A relay as a child process of a private stack, on the loopback interface, with a certificate of its own authority."""

from __future__ import annotations

import http.client
import json
import re
import ssl
import sys
import time
from typing import TYPE_CHECKING, Final

from workers.dev.child_process import Child
from workers.dev.trial_tls import write_authority_and_server

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from workers.dev.config_files import RedisAddress

_READY_TIMEOUT_S: Final = 60.0
_DRAIN_TIMEOUT_S: Final = 20.0
_POLL_S: Final = 0.05
_HTTP_TIMEOUT_S: Final = 2.0
_REDIS_TABLE: Final = re.compile(r"^\[redis\]\n(?:.+\n)*", re.MULTILINE)


class RelayFailed(RuntimeError):
    """A relay was not ready in time, or exited unexpectedly; the message has the end of its log."""


class RelayProcess:
    """A running ``sigmill relay``. Start it in the main thread, as every ``Child``.

    ``folder`` is made for its files. ``tenants``: Redis of each. The log is ``logs/relay.log``.
    """

    def __init__(
        self,
        folder: Path,
        *,
        audience: str,
        tenants: Mapping[str, RedisAddress],
        port: int,
        metrics_port: int,
        logs: Path,
    ) -> None:
        folder.mkdir(mode=0o700)
        self.ca_file = write_authority_and_server(folder, host="127.0.0.1")
        self.port = port
        self._metrics_port = metrics_port
        config = folder / "relay.toml"
        config.write_text(_relay_file(audience, tenants, port, metrics_port), "utf-8")
        command = [sys.executable, "-I", "-m", "workers.cli", "relay", "--config", str(config)]
        self._child = Child("relay", command, logs / "relay.log")

    @property
    def pid(self) -> int:
        """Process id."""
        return self._child.pid

    def wait_until_ready(self) -> None:
        """Return when it takes requests; raises ``RelayFailed``."""
        deadline = time.monotonic() + _READY_TIMEOUT_S
        while not self._answers():
            self.check()
            if time.monotonic() > deadline:
                raise RelayFailed(f"the relay was not ready in time:\n{self._child.log_tail()}")
            time.sleep(_POLL_S)

    def check(self) -> None:
        """Raise ``RelayFailed`` if it exited unexpectedly."""
        if self._child.exit_code is not None:
            raise RelayFailed(f"the relay exited ({self._child.exit_code}):\n{self._child.log_tail()}")

    def metrics(self) -> str:
        """Text of the relay's ``/metrics``."""
        connection = http.client.HTTPConnection("127.0.0.1", self._metrics_port, timeout=_HTTP_TIMEOUT_S)
        try:
            connection.request("GET", "/metrics")
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    @property
    def place(self) -> str:
        """Lines of a ``client.toml`` that say where it is."""
        return f'url = "https://127.0.0.1:{self.port}"\nca_file = {json.dumps(str(self.ca_file))}\n'

    def client_file(self, direct: Path, name: str) -> Path:
        """Write a ``client.toml`` beside ``direct``, with the relay instead of Redis; return its path."""
        made = direct.with_name(name)
        made.write_text(self.place + _REDIS_TABLE.sub("", direct.read_text("utf-8")), "utf-8")
        return made

    def stop(self) -> None:
        """Drain and end it."""
        self._child.stop(_DRAIN_TIMEOUT_S)

    def _answers(self) -> bool:
        context = ssl.create_default_context(cafile=str(self.ca_file))
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self.port, timeout=_HTTP_TIMEOUT_S, context=context
        )
        try:
            connection.request("GET", "/v1/health")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def _relay_file(audience: str, tenants: Mapping[str, RedisAddress], port: int, metrics_port: int) -> str:
    tables = "".join(
        f"\n[tenants.{name}.redis]\nunix_socket = {json.dumps(str(redis.socket))}\n"
        f"password_file = {json.dumps(str(redis.password_file))}\n"
        for name, redis in tenants.items()
    )
    return f"""\
audience = {json.dumps(audience)}
host = "127.0.0.1"
port = {port}

[tls]
certificate_file = "server.pem"
private_key_file = "server.key"

[metrics]
port = {metrics_port}
{tables}"""
