"""Certificates of a test's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.redis.tls import MakeCertificate
from workers.dev.trial_tls import write_authority_and_server


@pytest.fixture
def make_certificate(tmp_path: Path) -> MakeCertificate:
    """A folder with ``server.key`` and ``server.pem`` for this address, and the ``ca.pem`` of their authority."""

    def make(name: str, address: str = "127.0.0.1") -> Path:
        folder = tmp_path / name
        folder.mkdir()
        write_authority_and_server(folder, host=address)
        return folder

    return make
