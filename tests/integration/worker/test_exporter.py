"""The exporter's own socket."""

from __future__ import annotations

import socket

import pytest

from queueing.errors import ConfigError
from workers.exporter import Exporter
from workers.metrics import process_registry


def test_a_port_that_is_taken_is_a_mistake_of_the_configuration() -> None:
    """Said with place, reason and remedy, not as a traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match="cannot be listened at") as refused:
            Exporter(
                host="127.0.0.1",
                port=port,
                registry=process_registry(),
                alive=lambda: True,
                ready=lambda: True,
            )
    assert refused.value.key == "port"
