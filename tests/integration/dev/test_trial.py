"""The trial of docker-compose.yml without containers: its files, its redis.conf, a worker, and a build that signs."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.ports import free_port
from tests.support.sigmill_cli import sigmill
from tests.support.tools import redis_server, tool
from tests.support.waiting import until
from workers.dev.child_process import Child
from workers.dev.tenants import TENANTS
from workers.dev.trial import Trial
from workers.dev.trial_edge import TrialEdge

ROOT = Path(__file__).parents[3]


def trial_in(folder: Path, port: int = 6379, keys_port: int = 8444) -> Trial:
    return Trial(
        config=folder / "config",
        worker=folder / "worker-1",
        more_workers=(folder / "worker-2",),
        redis=folder / "redis",
        client=folder / "client",
        edge=TrialEdge(
            relay=folder / "relay",
            front=folder / "issuer",
            lane=folder / "issuer-lane",
            keys=folder / "issuer-keys",
            socket=folder / "issuer-socket",
            refresh=folder / "issuer-refresh",
            ci=folder / "ci",
            keys_address=("127.0.0.1", keys_port),
        ),
        redis_host="localhost",
        redis_port=port,
    )


@contextmanager
def redis_of(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Redis with the container's own file, except for its paths."""
    data = folder / "data"
    data.mkdir()
    text = (ROOT / "ops/docker/redis.conf").read_text()
    for there, here in (("tls-port 6379", f"tls-port {port}"), ("/run/redis-config", str(folder / "redis"))):
        assert there in text
        text = text.replace(there, here)
    conf = folder / "redis.conf"
    conf.write_text(text.replace("dir /data", f"dir {data}") + f"\nbind 127.0.0.1\nlogfile {data}/log\n")
    process = subprocess.Popen([redis_server(), str(conf)], stdout=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


@contextmanager
def worker_of(config: Path) -> Iterator[Child]:
    text = config.read_text()
    assert 'host = "0.0.0.0"' in text, "its metrics are not reached from another container"
    config.write_text(text.replace('[metrics]\nhost = "0.0.0.0"', "[metrics]\nport = 0"))
    command = [sys.executable, "-I", "-m", "workers.cli", "worker", "--config", str(config)]
    child = Child("worker", command, config.with_suffix(".log"))
    try:
        yield child
    finally:
        child.stop(30.0)


KEYS_PORT = free_port()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A trial that no test changes, and the port for its Redis."""
    folder, port = tmp_path_factory.mktemp("trial"), free_port()
    trial_in(folder, port, KEYS_PORT).make()
    return folder, port


def test_every_tenant_signs_over_tls_as_its_own_redis_user(made: tuple[Path, int]) -> None:
    """Certificates, users, tokens and files fit together, and Redis refuses users without a password."""
    folder, port = made
    with redis_of(folder, port) as redis, worker_of(folder / "config" / "sigmill.toml"):
        for tenant in TENANTS:
            client = folder / "client" / tenant.name / "client.toml"
            signed = sigmill("sign", "--config", client, "--key", "release", "/usr/bin/env")
            assert signed.code == 0, signed.err
            assert signed.json()[0]["signature"]
        assert redis.poll() is None
        ca = ["--tls", "--cacert", str(folder / "client" / "ca.pem"), "-h", "localhost", "-p", str(port)]
        stranger = subprocess.run(
            [tool("redis-cli"), *ca, "PING"], capture_output=True, text=True, check=False
        )
        assert "NOAUTH" in stranger.stdout, stranger


def test_the_configuration_has_no_mistake(made: tuple[Path, int]) -> None:
    """check-config accepts the written files, including the modes of secret files."""
    folder, _ = made
    for file in ("config/sigmill.toml", "issuer/issuer.toml", "relay/relay.toml"):
        checked = sigmill("check-config", "--config", folder / file)
        assert checked.code == 0, checked.err


def test_the_issuer_gets_the_keys_of_the_ci_system_by_its_refresh(made: tuple[Path, int]) -> None:
    """Over HTTPS, with the certificate that the first container made; a build finds its token in a file."""
    folder, _ = made
    command = [sys.executable, "-m", "workers.dev.token_provider", "--port", str(KEYS_PORT)]
    command += ["--tls", str(folder / "ci"), "--clients", str(folder / "client")]
    ci = Child("ci", command, folder / "ci.log")
    token = folder / "client" / TENANTS[1].name / "by-token" / "token"
    try:
        until(token.exists, "the CI system has given a token")
        fetched = sigmill("issuer", "refresh", "--config", folder / "issuer" / "issuer.toml")
        assert fetched.code == 0, fetched.err
        checked = sigmill(
            *("issuer", "check", "--config", folder / "issuer" / "issuer.toml"),
            *("--token-file", token, "--tenant", TENANTS[1].name),
        )
        assert checked.code == 0, checked.err
    finally:
        ci.stop(10.0)


def test_the_second_worker_has_the_same_keys(made: tuple[Path, int]) -> None:
    """Each worker has its own copies of the tokens, like a host with one HSM of a group."""
    folder, _ = made
    tokens = [
        {p.relative_to(folder / w) for p in (folder / w / "tokens").rglob("*") if p.is_file()}
        for w in ("worker-1", "worker-2")
    ]
    assert tokens[0] == tokens[1]
    assert len(tokens[0]) > len(TENANTS)


@pytest.mark.parametrize(
    "harm",
    [
        lambda folder: shutil.rmtree(folder / "redis"),
        lambda folder: (folder / "worker-2" / ".trial").unlink(),
        lambda folder: (folder / "config" / ".trial").write_text("of another run"),
    ],
)
def test_damaged_folders_of_a_trial_are_made_again(
    harm: Callable[[Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Complete folders of one run are left unchanged; otherwise all of them are made again."""
    monkeypatch.setattr("workers.dev.trial.TENANTS", TENANTS[1:2])  # RSA keys take seconds
    trial = trial_in(tmp_path)
    trial.make()
    before = (tmp_path / "redis" / "users.acl").read_text()
    trial.make()
    assert (tmp_path / "redis" / "users.acl").read_text() == before

    harm(tmp_path)
    trial.make()
    assert (tmp_path / "redis" / "users.acl").read_text() != before
    checked = sigmill("check-config", "--config", tmp_path / "config" / "sigmill.toml")
    assert checked.code == 0, checked.err
