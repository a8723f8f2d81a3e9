"""The doctor on a build host: what is wrong with client.toml, and a certificate of the host that ends."""

from __future__ import annotations

import base64
import time
from pathlib import Path

import pytest

from queueing.protocol.client_keys import ClientKey
from tests.support.fakes.config_files import p256_key
from workers.config.validation import FileKind, kind_of
from workers.dev.trial_tls import write_authority_and_server
from workers.doctor.client import check_client
from workers.doctor.findings import State

NOW_S = time.time()
DAY_S = 86_400


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A client of a relay that wants certificates; its own is valid for a year."""
    write_authority_and_server(tmp_path, host="127.0.0.1")
    ClientKey.generate().write(tmp_path / "client.key")
    made = tmp_path / "client.toml"
    made.write_text(
        'audience = "a"\ntenant = "acme"\nclient = "build-1"\nprivate_key_file = "client.key"\n'
        f'service_public_keys = ["{base64.b64encode(p256_key(1).spki).decode()}"]\n'
        'url = "https://127.0.0.1:1"\nca_file = "ca.pem"\ncert_file = "server.pem"\nkey_file = "server.key"\n'
    )
    return made


def states(file: Path, now_s: float = NOW_S) -> dict[str, State]:
    return {finding.check: finding.state for finding in check_client(file, now_s)}


def test_a_good_file_is_good(file: Path) -> None:
    """And is known for a client's; nothing is asked over the network."""
    assert kind_of(file) is FileKind.CLIENT
    assert states(file) == {"config": State.OK, "certificate.expiry": State.OK}


@pytest.mark.parametrize("days, state", [(300, State.OK), (352, State.FAIL), (400, State.FAIL)])
def test_a_client_certificate_that_ends_is_told_in_time(file: Path, days: int, state: State) -> None:
    """Two weeks before its end; its subject names the setting."""
    (_, found) = check_client(file, NOW_S + days * DAY_S)
    assert found.state is state
    assert found.subject.startswith("cert_file: ")


def test_a_certificate_of_redis_and_one_that_is_the_identity_are_checked_too(file: Path) -> None:
    """Each by the name of its setting."""
    text = file.read_text()
    in_redis = text.replace(
        'url = "https://127.0.0.1:1"\nca_file = "ca.pem"\n',
        '[redis]\nhost = "r"\n[redis.tls]\nca_file = "ca.pem"\n',
    )
    file.write_text(in_redis)
    assert [f.subject.partition(":")[0] for f in check_client(file, NOW_S)][1:] == ["redis.tls.cert_file"]
    own = 'client = "build-1"\nprivate_key_file = "client.key"\n'
    spiffe = (
        'identity = { from = "spiffe", certificate_file = "server.pem", private_key_file = "server.key" }\n'
        'issuer = { url = "https://127.0.0.1:2", ca_file = "ca.pem" }\n'
    )
    file.write_text(text.replace(own, spiffe))
    subjects = [f.subject.partition(":")[0] for f in check_client(file, NOW_S)][1:]
    assert subjects == ["cert_file", "identity.certificate_file"]


@pytest.mark.parametrize(
    "harm, words",
    [
        (lambda folder: (folder / "client.key").chmod(0o644), "open to group"),
        (lambda folder: (folder / "server.key").unlink(), "key_file"),
        (lambda folder: (folder / "client.toml").write_text("service_public_keys = []"), "client.toml"),
    ],
    ids=["key for all", "no key of the certificate", "wrong settings"],
)
def test_files_that_cannot_be_used_are_a_failure_with_a_fix(file: Path, harm: object, words: str) -> None:
    """As every command of this host would fail."""
    assert callable(harm)
    harm(file.parent)
    (found,) = check_client(file, NOW_S)
    assert (found.state, found.check) == (State.FAIL, "config")
    assert found.fix
    assert words in f"{found.subject} {found.text} {found.fix}"
