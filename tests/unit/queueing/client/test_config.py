"""client.toml: every mistake names file, key and remedy; private keys are kept private."""

from __future__ import annotations

import base64
import os
import pickle
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from msgspec.structs import replace

from queueing import ClientConfig, ClientKey, ConfigError
from queueing.config.accept_level import AcceptLevel
from queueing.protocol.client_keys import ClientKeyKind
from tests.support.keys import rsa_key, spki_of

SERVICE = base64.b64encode(spki_of(ec.generate_private_key(ec.SECP256R1()))).decode()
GOOD = f"""
audience = "prod/eu"
tenant = "acme"
client = "ci"
private_key_file = "client.key"
service_public_keys = ["{SERVICE}"]
[redis]
host = "redis.example"
password_file = "secrets/redis"
[redis.tls]
ca_file = "ca.pem"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "client.toml"
    path.write_text(GOOD)
    return path


def test_paths_count_from_the_file(file: Path) -> None:
    """Key, state, password and CA are found beside client.toml, whatever the working directory."""
    config = ClientConfig.from_file(file)
    assert config.private_key_file == str(file.parent / "client.key")
    assert config.state_file == str(file.parent / "client.toml.state")
    assert config.redis_settings().password_file == str(file.parent / "secrets/redis")
    tls = config.redis_settings().tls
    assert tls is not None
    assert tls.ca_file == str(file.parent / "ca.pem")


@pytest.mark.parametrize(
    "old, new, key, remedy",
    [
        ('tenant = "acme"', "", "tenant", "Add it"),
        ('tenant = "acme"', 'tenant = "Acme"', "tenant", ""),
        ('tenant = "acme"', 'tenent = "acme"', "tenent", "`tenant`"),
        ('host = "redis.example"', 'hots = "redis.example"', "redis.hots", "`host`"),
        ('ca_file = "ca.pem"', 'ca_flie = "ca.pem"', "redis.tls.ca_flie", "`ca_file`"),
        ('host = "redis.example"', "", "redis", "host"),
        ("password_file =", 'accept = "replicatd"\npassword_file =', "redis.accept", "`replicated`"),
        ("password_file =", "replica_timeout_s = 4.0\npassword_file =", "redis.replica_timeout_s", "range"),
        ('host = "redis.example"', 'host = "a"\nunix_socket = "b"', "redis", "unix_socket"),
        (f'"{SERVICE}"', '"AAAA"', "service_public_keys[0]", "base64"),
        (f'["{SERVICE}"]', "[]", "service_public_keys", ""),
        ('client = "ci"', 'client = "ci"\ndeadline_s = 0', "deadline_s", ""),
        ('client = "ci"', "client = [", "", ""),
    ],
)
def test_mistakes_are_named(file: Path, old: str, new: str, key: str, remedy: str) -> None:
    """The file, the key and what would be right."""
    assert old in GOOD
    file.write_text(GOOD.replace(old, new))
    with pytest.raises(ConfigError) as caught:
        ClientConfig.from_file(file)
    error = caught.value
    assert (error.file, error.key) == (str(file), key)
    assert remedy in error.remedy
    assert error.remedy


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """With a remedy."""
    with pytest.raises(ConfigError, match="does not exist") as caught:
        ClientConfig.from_file(tmp_path / "none.toml")
    assert caught.value.file == str(tmp_path / "none.toml")
    assert caught.value.remedy


class TestClientKey:
    @pytest.mark.parametrize("kind", list(ClientKeyKind))
    def test_a_written_key_is_read_again(self, tmp_path: Path, kind: ClientKeyKind) -> None:
        """Mode 0600, and never over another file."""
        key = ClientKey.generate(kind)
        path = tmp_path / "client.key"
        old_mask = os.umask(0)
        try:
            key.write(path)
        finally:
            os.umask(old_mask)
        assert path.stat().st_mode & 0o777 == 0o600
        assert ClientKey.from_file(path).public_spki == key.public_spki
        with pytest.raises(FileExistsError):
            key.write(path)

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
    def test_a_key_that_others_may_read_is_refused(self, tmp_path: Path, mode: int) -> None:
        """Group or others: refused, with the command that repairs it."""
        path = tmp_path / "client.key"
        ClientKey.generate().write(path)
        path.chmod(mode)
        with pytest.raises(ConfigError) as caught:
            ClientKey.from_file(path)
        assert "chmod 600" in caught.value.remedy

    def test_other_keys_are_refused(self, tmp_path: Path) -> None:
        """RSA, another curve, no key at all."""
        path = tmp_path / "client.key"
        for pem in (
            _pem(rsa_key()),
            _pem(ec.generate_private_key(ec.SECP384R1())),
            b"no key",
        ):
            path.write_bytes(pem)
            path.chmod(0o600)
            with pytest.raises(ConfigError):
                ClientKey.from_file(path)

    def test_a_key_is_not_shown_or_serialised(self) -> None:
        """repr says its kind, pickle refuses."""
        assert repr(ClientKey.generate()) == "<ClientKey ed25519>"
        with pytest.raises(TypeError):
            pickle.dumps(ClientKey.generate())


def _pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def test_the_accept_level_of_a_call_goes_before_that_of_the_file(file: Path) -> None:
    """A relay's accept level is its own: a client that names one is refused."""
    config = ClientConfig.from_file(file)
    assert config.with_accept_level(AcceptLevel.REPLICATED).redis_settings().accept is AcceptLevel.REPLICATED
    by_relay = replace(config, redis=None, url="https://relay.example:8443")
    with pytest.raises(ConfigError, match="the accept level is the relay's"):
        by_relay.with_accept_level(AcceptLevel.REPLICATED)


def test_a_write_counts_when_redis_said_ok_unless_the_file_says_more(file: Path) -> None:
    """``replicated`` becomes a write and one WAIT; its time is never 0, which would be for ever."""
    assert ClientConfig.from_file(file).redis_settings().replica_wait() is None
    more = 'accept = "replicated"\nreplicas = 2\nreplica_timeout_s = 0.0001\n'
    file.write_text(GOOD.replace("[redis.tls]", more + "[redis.tls]"))
    wait = ClientConfig.from_file(file).redis_settings().replica_wait()
    assert wait is not None
    assert wait.commands("mark") == (("SET", "mark", "", "PX", 60_000), ("WAIT", 2, 1))


RELAY = GOOD.partition("[redis]")[0] + 'url = "https://sign.example:8443"\nca_file = "ca.pem"\n'


def test_a_client_of_a_relay_may_have_a_certificate(file: Path) -> None:
    """Named as in [redis.tls], and found beside the file."""
    file.write_text(RELAY + 'cert_file = "own.pem"\nkey_file = "own.key"\n')
    config = ClientConfig.from_file(file)
    assert (config.cert_file, config.key_file) == (
        str(file.parent / "own.pem"),
        str(file.parent / "own.key"),
    )


@pytest.mark.parametrize(
    "text, key",
    [
        (RELAY + 'cert_file = "own.pem"\n', "key_file"),
        (RELAY + 'key_file = "own.key"\n', "cert_file"),
        ('cert_file = "own.pem"\nkey_file = "own.key"\n' + GOOD, "cert_file"),
        ('key_file = "own.key"\n' + GOOD, "key_file"),
    ],
)
def test_a_certificate_is_a_pair_and_for_a_relay(file: Path, text: str, key: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        ClientConfig.from_file(file)
    assert caught.value.key == key
