"""TLS to Redis and to its Sentinels: the certificate is checked everywhere, the server's name too."""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from redis.exceptions import RedisError

from queueing.connection import connect
from queueing.redis_config import RedisConfig, SentinelConfig, TlsConfig
from tests.support.ports import free_port
from tests.support.redis_nodes import NAME, SentinelProcess
from tests.support.redis_process import RedisProcess
from tests.support.rig import until

MakeCertificate = Callable[..., Path]


@pytest.fixture
def make_certificate(tmp_path: Path) -> MakeCertificate:
    """A folder with ``key.pem``, ``cert.pem`` and the same as ``ca.pem``, for this address."""

    def make(name: str, address: str = "127.0.0.1") -> Path:
        folder = tmp_path / name
        folder.mkdir()
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = dt.datetime.now(dt.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False
            )
            .sign(key, hashes.SHA256())
        )
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        (folder / "cert.pem").write_bytes(pem)
        (folder / "ca.pem").write_bytes(pem)
        (folder / "key.pem").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return folder

    return make


def tls_settings(folder: Path) -> dict[str, str]:
    return {
        "tls-port": str(free_port()),
        "tls-cert-file": str(folder / "cert.pem"),
        "tls-key-file": str(folder / "key.pem"),
        "tls-ca-cert-file": str(folder / "ca.pem"),
        "tls-auth-clients": "no",
        "tls-replication": "yes",
    }


async def ping(config: RedisConfig) -> bool:
    redis = connect(config)
    try:
        return bool(await redis.ping())
    finally:
        await redis.aclose()


def sentinel_config(port: int, folder: Path) -> RedisConfig:
    return RedisConfig(
        sentinel=SentinelConfig(nodes=(f"127.0.0.1:{port}",), primary=NAME),
        tls=TlsConfig(ca_file=str(folder / "ca.pem")),
    )


async def test_sentinel_and_primary_both_speak_tls(tmp_path: Path, make_certificate: MakeCertificate) -> None:
    """Under Sentinel too, where arq's own factory drops it; a certificate that we do not know ends it."""
    ours, other = make_certificate("ours"), make_certificate("other")
    settings = tls_settings(ours)
    with RedisProcess(tmp_path / "redis", settings=settings):
        sentinel = SentinelProcess(
            tmp_path / "sentinel",
            int(settings["tls-port"]),
            quorum=1,
            down_after_ms=5000,
            password=None,
            tls=ours,
        )
        sentinel.start()
        try:
            until(sentinel.is_up, "the Sentinel is up")
            assert await ping(sentinel_config(sentinel.port, ours))
            with pytest.raises(RedisError):
                await ping(sentinel_config(sentinel.port, other))
            place = RedisConfig(host="127.0.0.1", port=int(settings["tls-port"]))
            with pytest.raises(RedisError):
                await ping(place)  # in clear
        finally:
            sentinel.close()


async def test_a_certificate_for_another_server_is_refused(
    tmp_path: Path, make_certificate: MakeCertificate
) -> None:
    """Though it is one that we trust."""
    wrong = make_certificate("wrong", "127.0.0.9")
    settings = tls_settings(wrong)
    with RedisProcess(tmp_path / "redis", settings=settings):
        config = RedisConfig(
            host="127.0.0.1", port=int(settings["tls-port"]), tls=TlsConfig(ca_file=str(wrong / "ca.pem"))
        )
        with pytest.raises(RedisError, match=r"(?i)certificate|hostname"):
            await ping(config)
