"""``verify --receipt`` proves a file and its signature offline, with nothing but public keys, and refuses anything else."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric import ec

from queueing.client.signatures import Signature
from queueing.errors import InputUnreadable, ProofInvalid
from queueing.protocol.algorithms import Algorithm
from tests.support.farm.job_proofs import Log, items_of
from tests.support.keys import EcdsaNoteKey, sign_digest, spki_of
from workers.cli.shell.output import Output
from workers.cli.signing.verify import verify

CLIENT = """\
audience = "{audience}"
tenant = "{tenant}"
client = "ci"
private_key_file = "none"
service_public_keys = ["{key}"]
[redis]
host = "nowhere.invalid"
"""


@dataclass
class Build:
    """A signed file with its receipt, and the keys of its service."""

    folder: Path
    log: Log

    def __post_init__(self) -> None:
        self.file = self.folder / "release.bin"
        self.file.write_bytes(b"a release")
        digest = hashlib.sha256(b"a release").digest()
        key = ec.generate_private_key(ec.SECP256R1())
        self.signing_key = key
        der = sign_digest(key, Algorithm.ECDSA_SHA_256, digest)
        self.made = Signature(
            signature=der, algorithm=Algorithm.ECDSA_SHA_256, key="release", key_version=1,
            public_key_sha256=bytes(32), job_id="job", verified=True,
        )  # fmt: skip
        items = items_of([digest], [der])
        fingerprint = hashlib.sha256(spki_of(key)).digest()
        (receipt,) = self.log.proof(items, index=5, public_key_sha256=fingerprint).receipts(items)
        self.receipt = self.write("release.tlog-proof", receipt)
        self.key = self.write("service.key", base64.b64encode(self.log.service.spki) + b"\n")

    def write(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content)
        return path

    def client(self, *, tenant: str = "acme", audience: str = "prod") -> Path:
        key = base64.b64encode(self.log.service.spki).decode()
        text = CLIENT.format(tenant=tenant, audience=audience, key=key)
        return self.write(f"client-{tenant}-{audience}.toml", text.encode())

    def verify(self, *words: object) -> Result:
        return CliRunner().invoke(
            verify,
            ["--receipt", str(self.receipt), *map(str, words)],
            obj=Output(as_json=True),
            standalone_mode=False,
        )


@pytest.fixture
def build(tmp_path: Path) -> Build:
    return Build(tmp_path, Log(size=9))


def test_a_file_is_proven_by_the_service_key_or_by_what_client_toml_pins(build: Build) -> None:
    """Without a network: Redis in this client.toml does not exist."""
    for keys in (("--service-key", build.key), ("--config", build.client())):
        result = build.verify(build.file, *keys)
        assert result.exception is None, result.exception
        line = json.loads(result.stdout)
        assert (line["entry"], line["origin"]) == (5, build.log.origin)
        assert line["signature_sha256"] == hashlib.sha256(build.made.signature).hexdigest()
        assert len(line["public_key_sha256"]) == 64


def test_a_digest_alone_is_proven(build: Build) -> None:
    digest = hashlib.sha256(b"a release").hexdigest()
    assert build.verify("--digest", f"sha256:{digest}", "--service-key", build.key).exception is None


@pytest.mark.parametrize("raw", [False, True])
def test_the_signature_is_compared_in_either_encoding(build: Build, raw: bool) -> None:
    """As ``sign --out-dir`` writes it, with and without ``--raw``."""
    signature = build.write("release.sig", build.made.raw() if raw else build.made.signature)
    words = (build.file, "--service-key", build.key, "--signature", signature)
    assert build.verify(*words).exception is None
    signature.write_bytes(bytes(len(signature.read_bytes())))
    assert "of another signature" in str(build.verify(*words).exception)


def test_another_file_key_tenant_or_service_is_refused(build: Build) -> None:
    other = build.write("other.bin", b"another release")
    stranger = build.write("stranger", base64.b64encode(EcdsaNoteKey("service").spki))
    for words, why in (
        ((other, "--service-key", build.key), "of another digest"),
        ((build.file, "--service-key", stranger), "none of the trusted keys"),
        ((build.file, "--config", build.client(tenant="other")), "of another tenant"),
        ((build.file, "--service-key", build.key, "--tenant", "other"), "of another tenant"),
        ((build.file, "--config", build.client(audience="staging")), "of another service"),
    ):
        result = build.verify(*words)
        assert isinstance(result.exception, ProofInvalid)
        assert why in result.exception.message


@pytest.mark.parametrize("content", [b"", b"nonsense", b"c2sp.org/tlog-proof@v1\nindex 0\n\nx"])
def test_a_file_that_is_no_receipt_is_refused(build: Build, content: bytes) -> None:
    build.receipt.write_bytes(content)
    assert isinstance(build.verify(build.file, "--service-key", build.key).exception, ProofInvalid)


def test_a_receipt_that_is_missing_or_endless_is_told(build: Build) -> None:
    with build.receipt.open("wb") as stream:
        stream.truncate(1 << 30)
    assert isinstance(build.verify(build.file, "--service-key", build.key).exception, InputUnreadable)
    build.receipt.unlink()
    assert isinstance(build.verify(build.file, "--service-key", build.key).exception, InputUnreadable)


def test_what_is_needed_and_what_does_not_fit_is_a_usage_error(build: Build) -> None:
    def usage(*words: object) -> str:
        result = CliRunner().invoke(verify, [*map(str, words)], obj=Output(), standalone_mode=False)
        assert isinstance(result.exception, click.UsageError), result.exception
        return result.exception.message

    assert "signed file" in usage("--receipt", build.receipt, "--service-key", build.key)
    assert "--service-key" in usage("--receipt", build.receipt, build.file)
    for option in ("--service-key", "--signing-key"):
        assert "belong to --receipt" in usage(option, build.key, "--config", "x", build.file)
    assert "belong to --receipt" in usage("--tenant", "acme", "--config", "x", build.file)
    assert "RESULTS" in usage("--config", build.client())
    assert "--config" in usage(build.file)
