"""A redis-server that speaks TLS."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.support.ports import free_port

MakeCertificate = Callable[..., Path]


def tls_settings(folder: Path) -> dict[str, str]:
    return {
        "tls-port": str(free_port()),
        "tls-cert-file": str(folder / "server.pem"),
        "tls-key-file": str(folder / "server.key"),
        "tls-ca-cert-file": str(folder / "ca.pem"),
        "tls-auth-clients": "no",
        "tls-replication": "yes",
    }
