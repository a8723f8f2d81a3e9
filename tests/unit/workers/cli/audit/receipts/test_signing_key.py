"""A receipt is held against the key that its reader trusts, in whichever form that is given, and against no other."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from queueing.errors import ConfigError, ProofInvalid
from queueing.transparency.commitments import Item
from tests.support.certificates import issue, pem
from tests.support.farm.job_proofs import Log
from tests.support.keys import spki_of
from tests.unit.workers.cli.signing.test_verify_receipt import Build
from workers.cli.audit.receipts.receipt import receipt
from workers.cli.audit.receipts.signing_key import signing_key_sha256
from workers.cli.shell.output import Output

KEY = ec.derive_private_key(5, ec.SECP256R1())
OTHER = ec.generate_private_key(ec.SECP384R1())
EDWARDS = ed25519.Ed25519PrivateKey.generate()
SPKI = spki_of(KEY)
PUBLIC_PEM = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
CERTIFICATE = issue(None, KEY, "release")
PRIVATE_PEM = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.fixture
def build(tmp_path: Path) -> Build:
    return Build(tmp_path, Log(size=9))


def written(folder: Path, content: bytes) -> Path:
    file = folder / "signing.key"
    file.write_bytes(content)
    return file


@pytest.mark.parametrize(
    "content",
    [
        SPKI,
        PUBLIC_PEM,
        CERTIFICATE,
        pem(CERTIFICATE),
        b"# of release/1\r\n" + PUBLIC_PEM.replace(b"\n", b"\r\n"),
        b"subject=CN = release\n" + pem(CERTIFICATE) + b"\n\n",
    ],
    ids=[
        "DER",
        "PEM",
        "certificate in DER",
        "certificate in PEM",
        "CRLF and a comment",
        "certificate after text",
    ],
)
def test_one_key_is_read_from_a_key_or_a_certificate_in_pem_or_der(tmp_path: Path, content: bytes) -> None:
    assert signing_key_sha256(written(tmp_path, content)) == hashlib.sha256(SPKI).digest()


def test_a_key_of_another_kind_is_read(tmp_path: Path) -> None:
    for key in (OTHER, EDWARDS):
        assert signing_key_sha256(written(tmp_path, spki_of(key))) == hashlib.sha256(spki_of(key)).digest()


@pytest.mark.parametrize(
    "content, what",
    [
        (b"", "no public key"),
        (b"\0" * 400, "no public key"),
        (b"\xff\xfe" + PUBLIC_PEM.decode().encode("utf-16-le"), "no public key"),
        (SPKI[:-1], "no public key"),
        (SPKI + b"\0", "no public key"),
        (SPKI + SPKI, "no public key"),
        (SPKI[:-1] + bytes([SPKI[-1] ^ 1]), "no public key"),
        (PUBLIC_PEM[:80], "no public key"),
        (PUBLIC_PEM.replace(b"M", b"!", 1), "no public key"),
        (PUBLIC_PEM.replace(b"PUBLIC KEY", b"RSA PUBLIC KEY"), "no public key"),
        (b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n", "no public key"),
        (b"-----BEGIN PKCS7-----\nAAAA\n-----END PKCS7-----\n", "no public key"),
        (PRIVATE_PEM, "private key"),
        (PUBLIC_PEM + PRIVATE_PEM, "private key"),
        (PUBLIC_PEM + PUBLIC_PEM, "2 keys or certificates"),
        (pem(CERTIFICATE) + pem(issue(None, OTHER, "CA")), "2 keys or certificates"),
        (b"x" * (64 * 1024 + 1), "larger than"),
    ],
    ids=[
        "nothing", "zeros", "UTF-16", "DER cut off", "DER and a byte", "DER twice", "no point of the curve", "PEM cut off",
        "no base64", "RSA's form", "a request", "PKCS#7", "a private key", "both halves", "PEM twice", "a chain", "64 KiB and a byte",
    ],
)  # fmt: skip
def test_what_is_no_single_public_key_is_refused(tmp_path: Path, content: bytes, what: str) -> None:
    file = written(tmp_path, content)
    with pytest.raises(ConfigError, match=what) as refused:
        signing_key_sha256(file)
    assert str(file) in str(refused.value)


def _missing(file: Path) -> None:
    assert not file.exists()


@pytest.mark.parametrize("make", [_missing, os.mkdir, os.mkfifo])
def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "key")
    with pytest.raises(ConfigError):
        signing_key_sha256(tmp_path / "key")


def audited(build: Build, *words: object) -> Result:
    """``sigmill audit receipt`` on the receipt's file."""
    digest = hashlib.sha256(b"a release").hexdigest()
    arguments = (build.receipt, "--digest", digest, "--service-key", build.key, *words)
    return CliRunner().invoke(
        receipt, [*map(str, arguments)], obj=Output(as_json=True), standalone_mode=False
    )


def test_a_receipt_is_of_a_signature_by_the_key_that_is_trusted(build: Build) -> None:
    """Both commands hold it against the key, and its line has the fingerprint."""
    spki = spki_of(build.signing_key)
    trusted = build.write("trusted.crt", pem(issue(None, build.signing_key, "release")))
    for result in (
        build.verify(build.file, "--service-key", build.key, "--signing-key", trusted),
        audited(build, "--signing-key", trusted),
    ):
        assert result.exception is None, result.exception
        assert json.loads(result.stdout)["public_key_sha256"] == hashlib.sha256(spki).hexdigest()


def test_a_signature_by_another_key_is_refused_with_both_fingerprints(build: Build) -> None:
    other = build.write("other.der", spki_of(OTHER))
    for result in (
        build.verify(build.file, "--service-key", build.key, "--signing-key", other),
        audited(build, "--signing-key", other),
    ):
        assert isinstance(result.exception, ProofInvalid)
        assert hashlib.sha256(spki_of(OTHER)).hexdigest() in result.exception.message
        assert hashlib.sha256(spki_of(build.signing_key)).hexdigest() in result.exception.message
        assert result.stdout == ""


def test_a_receipt_of_a_digest_that_was_not_signed_is_of_no_key(build: Build) -> None:
    """Also where the job has a key, which signed others of its digests; or none, and an empty hash."""
    digest = hashlib.sha256(b"a release").digest()
    trusted = build.write("trusted.der", spki_of(build.signing_key))
    for fingerprint in (hashlib.sha256(spki_of(build.signing_key)).digest(), b""):
        items = [Item(0, digest, b"", "digest.length")]
        (data,) = build.log.proof(items, public_key_sha256=fingerprint).receipts(items)
        build.receipt.write_bytes(data)
        result = build.verify(build.file, "--service-key", build.key, "--signing-key", trusted)
        assert isinstance(result.exception, ProofInvalid)
        assert "not signed (digest.length)" in result.exception.message
        assert build.verify(build.file, "--service-key", build.key).exception is None


def test_a_key_file_that_cannot_be_used_proves_nothing(build: Build) -> None:
    result = build.verify(
        build.file, "--service-key", build.key, "--signing-key", build.write("bad", b"nonsense")
    )
    assert isinstance(result.exception, ConfigError)
    assert result.stdout == ""
    folder = build.folder / "folder"
    folder.mkdir()
    result = build.verify(build.file, "--service-key", build.key, "--signing-key", folder)
    assert isinstance(result.exception, click.UsageError)
