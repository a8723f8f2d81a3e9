"""A receipt in a CMS signature is found again, is of the digest that was signed, and leaves the signature valid for openssl."""

from __future__ import annotations

from pathlib import Path

import pytest

from queueing.artifacts.cms import attribute, read_signed_data
from queueing.protocol import der
from queueing.protocol.der import DerInvalid
from queueing.transparency.receipts import verify_receipt
from tests.support.farm.job_proofs import Log, items_of
from tests.support.openssl import made, openssl
from workers.pki.receipts import receipt_of, signed_digest, with_receipt

LOG = Log(size=9)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file, its detached signature by openssl, and the signer's certificate."""
    folder = tmp_path_factory.mktemp("cms")
    (folder / "file").write_bytes(b"a release")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", folder / "key")
    made("req", "-x509", *key, "-days", "30", "-subj", "/CN=release", "-out", folder / "certificate")
    made(
        "cms", "-sign", "-binary", "-md", "sha256", "-in", folder / "file", "-signer", folder / "certificate",
        "-inkey", folder / "key", "-outform", "DER", "-out", folder / "signed",
    )  # fmt: skip
    return folder


def verified(folder: Path, signed: bytes) -> bool:
    """Whether openssl verifies it over the file."""
    (folder / "other").write_bytes(signed)
    words = ("-in", folder / "other", "-inform", "DER", "-content", folder / "file", "-out", folder / "out")
    return (
        openssl(
            "cms", "-verify", "-binary", *words, "-CAfile", folder / "certificate", "-purpose", "any"
        ).code
        == 0
    )


def test_a_signature_with_a_receipt_is_as_valid_as_before(folder: Path) -> None:
    """The receipt comes out byte by byte, and proves the digest of the signed attributes and the signature over it."""
    signed = (folder / "signed").read_bytes()
    digest, signature = signed_digest(signed, "sha256"), read_signed_data(signed).signature
    items = items_of([digest], [signature])
    (receipt,) = LOG.proof(items, index=3).receipts(items)
    whole = with_receipt(signed, receipt)
    assert verified(folder, signed)
    assert verified(folder, whole)
    assert receipt_of(signed) is None
    assert receipt_of(whole) == receipt
    verify_receipt(receipt, LOG.trusted, digest=signed_digest(whole, "sha256"), signature=signature)
    assert len(whole) - len(signed) < 2600


def test_a_changed_signature_stays_invalid_with_a_receipt(folder: Path) -> None:
    """So the check by openssl can fail."""
    signed = bytearray((folder / "signed").read_bytes())
    signature = read_signed_data(bytes(signed)).signature
    signed[bytes(signed).index(signature) + len(signature) - 1] ^= 1
    assert not verified(folder, with_receipt(bytes(signed), b"receipt"))


def test_a_second_receipt_replaces_the_first(folder: Path) -> None:
    """Another unsigned attribute, such as a time-stamp, stays."""
    stamp = attribute(der.oid("1.2.840.113549.1.9.16.2.14"), der.octets(b"a time-stamp"))
    signed = read_signed_data((folder / "signed").read_bytes()).replacing_unsigned((stamp,))
    whole = with_receipt(with_receipt(signed, b"first"), b"second")
    assert receipt_of(whole) == b"second"
    assert len(read_signed_data(whole).unsigned_attributes) == 2
    assert stamp in read_signed_data(whole).unsigned_attributes


@pytest.mark.parametrize("raw", [b"", b"nonsense", bytes(100)])
def test_what_is_no_signature_takes_no_receipt(raw: bytes) -> None:
    with pytest.raises(DerInvalid):
        with_receipt(raw, b"receipt")
