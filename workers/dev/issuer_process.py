"""Issuer of grants as a child process of a private stack, on the loopback interface, with its lane as its own child."""

from __future__ import annotations

import http.client
import json
import sys
import time
from typing import TYPE_CHECKING, Final

from workers.dev.child_process import Child
from workers.dev.config_files import issuer_file
from workers.dev.trial_tls import write_authority_and_server

if TYPE_CHECKING:
    from pathlib import Path

    from queueing.protocol.public_keys import PublicKey
    from workers.config.settings import TokenSettings

_READY_TIMEOUT_S: Final = 60.0
_DRAIN_TIMEOUT_S: Final = 20.0
_POLL_S: Final = 0.05
_HTTP_TIMEOUT_S: Final = 2.0


class IssuerFailed(RuntimeError):
    """An issuer was not ready in time, or exited unexpectedly; the message has the end of its log."""


class IssuerProcess:
    """A running ``sigmill issuer serve``. Start it in the main thread, as every ``Child``.

    ``folder`` is made for its files; ``keys_dir`` in it is for the keys of providers. The log is ``logs/issuer.log``.
    """

    def __init__(
        self,
        folder: Path,
        *,
        token: TokenSettings,
        public_key: PublicKey,
        ports: tuple[int, int],
        tenants_dir: Path,
        logs: Path,
    ) -> None:
        folder.mkdir(mode=0o700)
        self.keys_dir = folder / "keys"
        self.keys_dir.mkdir()
        self.ca_file = write_authority_and_server(folder, host="127.0.0.1")
        port, self._metrics_port = ports
        self.url = f"https://127.0.0.1:{port}"
        config = folder / "issuer.toml"
        text = issuer_file(
            token=token,
            public_key=public_key,
            issuer=f'state_dir = "state"\nkeys_dir = "keys"\ntenants_dir = {json.dumps(str(tenants_dir))}',
            http=f'host = "127.0.0.1"\nport = {port}',
            metrics=f"port = {self._metrics_port}",
        )
        config.write_text(text, "utf-8")
        command = [sys.executable, "-I", "-m", "workers.cli", "issuer", "serve", "--config", str(config)]
        self._child = Child("issuer", command, logs / "issuer.log")

    @property
    def pid(self) -> int:
        """Process id of the front."""
        return self._child.pid

    def wait_until_ready(self) -> None:
        """Return when its lane is logged in; raises ``IssuerFailed``."""
        deadline = time.monotonic() + _READY_TIMEOUT_S
        while not self._is_ready():
            self.check()
            if time.monotonic() > deadline:
                raise IssuerFailed(f"the issuer was not ready in time:\n{self._child.log_tail()}")
            time.sleep(_POLL_S)

    def check(self) -> None:
        """Raise ``IssuerFailed`` if it exited unexpectedly."""
        if self._child.exit_code is not None:
            raise IssuerFailed(f"the issuer exited ({self._child.exit_code}):\n{self._child.log_tail()}")

    def stop(self) -> None:
        """Drain and end it, and its lane with it."""
        self._child.stop(_DRAIN_TIMEOUT_S)

    def _is_ready(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self._metrics_port, timeout=_HTTP_TIMEOUT_S)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
