"""The exporter's own socket."""

from __future__ import annotations

import socket

import pytest

from queueing.config.addresses import with_port
from queueing.errors import ConfigError
from workers.config.settings import MetricsSettings
from workers.doctor.host import check_port
from workers.monitoring.http import get
from workers.telemetry.http_server import MetricsServer
from workers.telemetry.metrics import process_registry


def test_a_port_that_is_taken_is_a_mistake_of_the_configuration() -> None:
    """Said with place, reason and remedy, not as a traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match="cannot listen on") as refused:
            MetricsServer(
                host="127.0.0.1",
                port=port,
                registry=process_registry(),
                alive=lambda: True,
                ready=lambda: True,
            )
    assert refused.value.key == "port"


@pytest.mark.parametrize(
    "host, asked", [("::1", ["::1"]), ("::", ["::1", "127.0.0.1"]), ("127.0.0.1", ["127.0.0.1"])]
)
def test_it_serves_at_addresses_of_either_version(host: str, asked: list[str]) -> None:
    """All addresses of IPv6 are all of IPv4, too; `doctor` finds it there."""
    exporter = MetricsServer(
        host=host, port=0, registry=process_registry(), alive=lambda: True, ready=lambda: True
    )
    try:
        for address in asked:
            assert get(f"http://{with_port(address, exporter.port)}/healthz") == b"ok\n"
        assert check_port(MetricsSettings(host=host, port=exporter.port)).text == "used by another program"
    finally:
        exporter.close()
    assert check_port(MetricsSettings(host=host, port=exporter.port)).text == "free"
