"""Passwords, authorities and client certificates of Redis are rotated while worker and client are connected."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

import pytest
from redis.exceptions import RedisError

from queueing import Signature, SigningClient
from queueing.config.redis import RedisConfig, TlsConfig
from queueing.redis.connection import connect
from queueing.redis.faults import reason_of
from tests.support.redis.process import RedisProcess
from tests.support.redis.tls import ClientAuthority, MakeCertificate, tls_settings
from tests.support.rig.rig import MakeRig, Rig
from tests.support.sigmill_cli import sigmill
from tests.support.waiting import until


class MakeTlsRig(Protocol):
    def __call__(self, certificate: Path, *, trusted: Path) -> tuple[Rig, Path]: ...


@pytest.fixture
def make_tls_rig(make_rig: MakeRig, tmp_path: Path) -> MakeTlsRig:
    """A rig whose Redis shows ``certificate``, and its file of trusted authorities, with the one of ``trusted``."""

    def make(certificate: Path, *, trusted: Path) -> tuple[Rig, Path]:
        ca_file = tmp_path / "trusted.pem"
        ca_file.write_bytes((trusted / "ca.pem").read_bytes())
        settings = tls_settings(certificate)
        table = f'host = "127.0.0.1"\nport = {settings["tls-port"]}\ntls = {{ ca_file = "{ca_file}" }}\n'
        rig = make_rig(redis=False, redis_table=table)
        rig.redis.configure(**settings)
        rig.redis.start()
        return rig, ca_file

    return make


def cut_connections(server: RedisProcess) -> None:
    """All clients have to connect again."""
    server.command("CLIENT", "KILL", "TYPE", "normal")
    server.command("CLIENT", "KILL", "TYPE", "pubsub")


async def signs(client: SigningClient) -> bool:
    return isinstance(await client.sign("release", os.urandom(32), timeout_s=20.0), Signature)


def rotate_password(server: RedisProcess, file: Path) -> None:
    """Both count; then the file is rewritten; then the old one is removed."""
    assert server.password is not None
    before = server.password
    server.command("ACL", "SETUSER", "default", ">next-password")
    file.write_text("next-password\n")
    server.password = "next-password"
    server.command("ACL", "SETUSER", "default", f"<{before}")
    cut_connections(server)


def rotate_authority(server: RedisProcess, ca_file: Path, new: Path) -> None:
    """Both are trusted; then the server has a certificate by the new one; then the old one is removed."""
    old = ca_file.read_bytes()
    ca_file.write_bytes(old + (new / "ca.pem").read_bytes())
    server.command(
        *("CONFIG", "SET", "tls-cert-file", str(new / "server.pem"), "tls-key-file", str(new / "server.key"))
    )
    ca_file.write_bytes((new / "ca.pem").read_bytes())
    cut_connections(server)


async def test_a_worker_and_an_open_client_follow_a_new_password(make_rig: MakeRig) -> None:
    """Both sign after the rotation, without a restart or a reload."""
    rig = make_rig()
    worker = rig.start_worker()
    async with rig.client() as client:
        assert await signs(client)
        rotate_password(rig.redis, rig.directory / "redis-password")
        assert await signs(client)
    until(lambda: worker.ready, "it is ready")


async def test_a_worker_and_an_open_client_follow_a_new_authority(
    make_tls_rig: MakeTlsRig, make_certificate: MakeCertificate
) -> None:
    """Each new connection trusts what is in the file by then."""
    old, new = make_certificate("old"), make_certificate("new")
    rig, ca_file = make_tls_rig(old, trusted=old)
    worker = rig.start_worker()
    async with rig.client() as client:
        assert await signs(client)
        rotate_authority(rig.redis, ca_file, new)
        assert await signs(client)
    until(lambda: worker.ready, "it is ready")


async def test_a_new_client_certificate_is_shown_to_redis(
    tmp_path: Path, make_certificate: MakeCertificate
) -> None:
    """A new connection shows the certificate that is in the file; one of a former authority is refused."""
    server = make_certificate("server")
    old, new = (ClientAuthority(tmp_path / f"{name}.pem") for name in ("old", "new"))
    accepted = server / "clients.pem"
    accepted.write_bytes(old.pem + new.pem)
    old.issue(tmp_path)
    settings = {**tls_settings(server), "tls-ca-cert-file": str(accepted), "tls-auth-clients": "yes"}
    config = RedisConfig(
        host="127.0.0.1",
        port=int(settings["tls-port"]),
        tls=TlsConfig(
            ca_file=str(server / "ca.pem"),
            cert_file=str(tmp_path / "client.pem"),
            key_file=str(tmp_path / "client.key"),
        ),
    )
    with RedisProcess(tmp_path / "redis", settings=settings) as process:
        redis = connect(config)
        try:
            assert await redis.ping()
            new.issue(tmp_path)
            accepted.write_bytes(new.pem)
            process.command("CONFIG", "SET", "tls-ca-cert-file", str(accepted))
            cut_connections(process)
            assert await redis.ping()
            old.issue(tmp_path)
            cut_connections(process)
            with pytest.raises(RedisError) as refused:
                await redis.ping()
            # With TLS 1.3, Redis may reset the connection before the client has read its alert.
            reason = reason_of(refused.value)
            assert "Redis refuses the client certificate" in reason or "reset by peer" in reason
            new.issue(tmp_path)
            assert await redis.ping()
        finally:
            await redis.aclose()


async def test_a_worker_that_refuses_the_certificate_says_so_and_is_not_ready(
    make_tls_rig: MakeTlsRig, make_certificate: MakeCertificate
) -> None:
    """The log and `doctor` name the certificate; with the right authority the worker becomes ready."""
    ours, other = make_certificate("ours"), make_certificate("other")
    rig, ca_file = make_tls_rig(ours, trusted=other)
    worker = rig.start_worker(ready=False)
    until(lambda: worker.events("claim.failed") == 1, "it has tried")
    assert not worker.ready
    failed = [
        line for line in worker.log().splitlines() if "claim.failed" in line or "arq.interrupted" in line
    ]
    assert all("the certificate of Redis is refused" in line for line in failed), failed
    (finding,) = [
        line for line in sigmill("doctor", "--json", config=rig.config()).json() if line["check"] == "redis"
    ]
    assert finding["state"] == "mend"
    assert "certificate of Redis is refused" in finding["says"]
    ca_file.write_bytes((ours / "ca.pem").read_bytes())
    until(lambda: worker.ready, "it is ready")
