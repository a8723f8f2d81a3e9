"""A relay between the farm's clients and its Redis."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.farm.farm import Farm
from tests.support.farm.responder import AUDIENCE
from tests.support.relay.relay_process import RelayProcess


@pytest.fixture
def tables() -> str:
    """Further tables of relay.toml."""
    return ""


@pytest.fixture
def relay(farm: Farm, tmp_path: Path, tables: str) -> Iterator[RelayProcess]:
    """A relay that runs; a test may stop and start it."""
    socket = farm.config.redis_settings().unix_socket
    made = RelayProcess(
        folder=tmp_path / "relay", audience=AUDIENCE, redis=f'unix_socket = "{socket}"', tables=tables
    )
    made.start()
    yield made
    made.kill()
