"""A relay that wants a certificate of its clients, and clients with and without one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from msgspec.structs import replace

from queueing import ClientConfig, SigningClient
from queueing.client.delivery import relay_tls
from queueing.errors import QueueUnavailable
from tests.support.farm.farm import Farm, digests
from tests.support.farm.responder import AUDIENCE
from tests.support.issuer.authority import Root
from tests.support.relay.relay_process import RelayProcess

MESH = Root("mesh")


@pytest.fixture
def config(farm: Farm, tmp_path: Path) -> Iterator[ClientConfig]:
    """Client of a relay that takes certificates of the mesh only; it has one."""
    folder = tmp_path / "relay"
    folder.mkdir()
    (folder / "mesh.pem").write_bytes(MESH.certificate.public_bytes(Encoding.PEM))
    MESH.issue_to(tmp_path / "own", x509.DNSName("build.example"))
    socket = farm.config.redis_settings().unix_socket
    relay = RelayProcess(
        folder=folder, audience=AUDIENCE, redis=f'unix_socket = "{socket}"', client_ca="mesh.pem"
    )
    relay.start()
    yield replace(
        relay.client_config(farm.config),
        cert_file=str(tmp_path / "own.pem"),
        key_file=str(tmp_path / "own.key"),
    )
    relay.kill()


async def test_a_client_with_a_certificate_signs_and_takes_a_renewed_one(
    farm: Farm, config: ClientConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of another authority, which replaces it, is refused, and told; with a good one again the call goes on."""
    monkeypatch.setattr(relay_tls, "CHECK_S", 0.0)
    async with SigningClient(config, farm.key) as client:
        assert (await client.sign("release", digests(1)[0], timeout_s=30)).verified
        Root("mesh").issue_to(tmp_path / "own", x509.DNSName("build.example"))
        with pytest.raises(QueueUnavailable, match="wants a certificate of its clients"):
            await client.sign("release", digests(1, salt="b")[0], timeout_s=2)
        waiting = asyncio.create_task(client.sign("release", digests(1, salt="c")[0], timeout_s=30))
        MESH.issue_to(tmp_path / "own", x509.DNSName("build.example"))
        assert (await waiting).verified


async def test_a_client_without_a_certificate_is_told_so(farm: Farm, config: ClientConfig) -> None:
    """It names the setting."""
    without = replace(config, cert_file=None, key_file=None)
    async with SigningClient(without, farm.key) as client:
        with pytest.raises(QueueUnavailable, match="`cert_file` is missing"):
            await client.sign("release", digests(1)[0], "ECDSA_SHA_256", timeout_s=3)
