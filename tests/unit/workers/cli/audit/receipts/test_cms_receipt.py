"""``sigmill audit cms-receipt``: a receipt is put into a signature that it proves, and openssl takes the signature as before."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from queueing.artifacts.cms import read_signed_data
from queueing.errors import InputUnreadable, OutputUnwritable, ProofInvalid
from tests.support.farm.job_proofs import Log, items_of
from tests.support.openssl import made, openssl
from workers.cli.audit import audit
from workers.cli.shell.output import Output
from workers.pki.receipts import receipt_of, signed_digest, with_receipt

LOG = Log(size=9)


@pytest.fixture(scope="module")
def signed_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file, its detached signature by openssl, and the signer's certificate."""
    folder = tmp_path_factory.mktemp("cms")
    (folder / "release.bin").write_bytes(b"a release")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384", "-nodes", "-keyout", folder / "key")
    made("req", "-x509", *key, "-days", "30", "-subj", "/CN=release", "-out", folder / "certificate")
    made(
        "cms", "-sign", "-binary", "-md", "sha384", "-in", folder / "release.bin", "-signer", folder / "certificate",
        "-inkey", folder / "key", "-outform", "DER", "-out", folder / "release.p7s",
    )  # fmt: skip
    return folder


class SignedFolder:
    """A folder with a signature, the receipt of it, and the service key."""

    def __init__(self, folder: Path, signed_once: Path) -> None:
        self.signature = folder / "release.p7s"
        self.unsigned = (signed_once / "release.p7s").read_bytes()
        self.signature.write_bytes(self.unsigned)
        self.receipt = folder / "release.tlog-proof"
        self.receipt.write_bytes(self.receipt_for(read_signed_data(self.unsigned).signature))
        self.keys = folder / "service.keys"
        self.keys.write_text(base64.b64encode(LOG.trusted.service[0]).decode())
        self._source = signed_once
        self._folder = folder

    def receipt_for(self, signature: bytes) -> bytes:
        items = items_of([signed_digest(self.unsigned, "sha384")], [signature])
        (receipt,) = LOG.proof(items, index=3).receipts(items)
        return receipt

    def run(self, *words: object, key: bool = True) -> Result:
        keys = ("--service-key", str(self.keys)) if key else ()
        options = ["cms-receipt", str(self.signature), *map(str, words), *keys]
        return CliRunner().invoke(audit, options, obj=Output(as_json=True), standalone_mode=False)

    def openssl_verifies(self, file: Path) -> bool:
        words = (
            "-inform",
            "DER",
            "-in",
            file,
            "-content",
            self._source / "release.bin",
            "-out",
            self._folder / "out",
        )
        trust = ("-CAfile", self._source / "certificate", "-purpose", "any")
        return openssl("cms", "-verify", "-binary", *words, *trust).code == 0


@pytest.fixture
def folder(tmp_path: Path, signed_once: Path) -> SignedFolder:
    return SignedFolder(tmp_path, signed_once)


def test_a_receipt_is_put_into_the_signature_and_found_again(folder: SignedFolder) -> None:
    """openssl verifies the signature before and after; digest and signature are those in the file."""
    attached = folder.run("--from", folder.receipt)
    assert (attached.exception, attached.return_value) == (None, 0)
    assert folder.signature.read_bytes() == with_receipt(folder.unsigned, folder.receipt.read_bytes())
    assert folder.openssl_verifies(folder.signature)
    found = folder.run()
    assert json.loads(found.stdout) == json.loads(attached.stdout)
    assert json.loads(found.stdout)["entry"] == 3


def test_another_file_is_written_where_one_is_named(folder: SignedFolder, tmp_path: Path) -> None:
    out = tmp_path / "with-receipt.p7s"
    assert folder.run("--from", folder.receipt, "--out", out).return_value == 0
    assert receipt_of(out.read_bytes()) == folder.receipt.read_bytes()
    assert folder.openssl_verifies(out)
    assert folder.signature.read_bytes() == folder.unsigned


def test_the_receipt_of_another_signature_is_not_put_in(folder: SignedFolder) -> None:
    """Also one over the same digest: a key signs it twice with two signatures."""
    folder.receipt.write_bytes(folder.receipt_for(b"another"))
    refused = folder.run("--from", folder.receipt)
    assert isinstance(refused.exception, ProofInvalid)
    assert folder.signature.read_bytes() == folder.unsigned


def test_a_false_receipt_that_is_in_a_signature_is_refused(folder: SignedFolder) -> None:
    """openssl looks at no unsigned attribute, so that only this command tells."""
    folder.signature.write_bytes(with_receipt(folder.unsigned, folder.receipt_for(b"another")))
    assert folder.openssl_verifies(folder.signature)
    assert isinstance(folder.run().exception, ProofInvalid)


def test_a_signature_without_a_receipt_proves_nothing(folder: SignedFolder) -> None:
    assert "has no receipt in it" in str(folder.run().exception)


def test_a_receipt_says_nothing_without_a_key_from_elsewhere(folder: SignedFolder) -> None:
    assert "--service-key" in str(folder.run("--from", folder.receipt, key=False).exception)
    assert "--out needs --from" in str(folder.run("--out", folder.signature).exception)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x30\x80" * 500, b"-----BEGIN PKCS7-----\n"])
def test_what_is_no_signature_is_refused_with_its_file(folder: SignedFolder, content: bytes) -> None:
    folder.signature.write_bytes(content)
    refused = folder.run("--from", folder.receipt).exception
    assert isinstance(refused, InputUnreadable)
    assert "is no CMS signature in DER by one signer" in str(refused)
    assert str(folder.signature) in str(refused)


def test_a_signature_of_gigabytes_or_that_is_no_file_is_not_read(folder: SignedFolder) -> None:
    with folder.signature.open("wb") as stream:
        stream.truncate(1 << 30)
    assert isinstance(folder.run().exception, InputUnreadable)
    folder.signature.unlink()
    os.mkfifo(folder.signature)
    assert isinstance(folder.run().exception, InputUnreadable)


def test_a_place_that_takes_no_file_is_named(folder: SignedFolder, tmp_path: Path) -> None:
    refused = folder.run("--from", folder.receipt, "--out", tmp_path / "missing" / "out.p7s").exception
    assert isinstance(refused, OutputUnwritable)
    assert "missing" in str(refused)
