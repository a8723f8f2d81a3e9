"""Files of authorities are read as chains in every form that has an order; of others the refusal says what they are."""

from __future__ import annotations

from contextlib import suppress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs7,
    pkcs12,
)
from hypothesis import given
from hypothesis import strategies as st

from tests.support.fakes.certificates import NOW, Kind, issue, pem, private_key
from workers.pki.chain_reading import read_chain
from workers.pki.chains import Chain, ChainInvalid

ROOT = Kind(name="root", key=private_key(1), authority=True)
MIDDLE = Kind(name="middle", key=private_key(2), authority=True)
LEAF = Kind(key=private_key(3))
root, middle, leaf = issue(ROOT, by=ROOT), issue(MIDDLE, by=ROOT), issue(LEAF, by=MIDDLE)


@pytest.mark.parametrize("change", ["bom", "crlf", "text", "der"])
def test_a_chain_is_read_as_editors_and_authorities_write_it(change: str) -> None:
    """A byte order mark, CRLF, and text in between change nothing; one DER certificate is a chain of one."""
    raw = pem(leaf, middle)
    expected: tuple[x509.Certificate, ...] = (leaf, middle)
    if change == "bom":
        raw = b"\xef\xbb\xbf" + raw
    elif change == "crlf":
        raw = raw.replace(b"\n", b"\r\n")
    elif change == "text":
        raw = b"subject=CN = leaf\n" + raw + b"\nthank you\n"
    else:
        raw, expected = leaf.public_bytes(Encoding.DER), (leaf,)
    assert read_chain(raw).certificates == expected


def test_a_der_certificate_with_the_bytes_of_a_line_end_in_it_is_read() -> None:
    """CR and LF are bytes like others in a serial number, a key or a signature."""
    numbered = issue(Kind(key=private_key(3), serial=0x0D0A_0D0A_0D0A), by=MIDDLE)
    assert read_chain(numbered.public_bytes(Encoding.DER)).leaf == numbered


@pytest.mark.parametrize(
    "raw, problem",
    [
        (b"", "no certificate"),
        (b"\x00" * 100, "no certificate"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "is damaged"),
        (pem(leaf) + pem(middle)[:-40], "cut off"),
        (pem(leaf).replace(b"MII", b"M\0I", 1), "is damaged"),
        (pem(leaf).replace(b" CERTIFICATE", b" TRUSTED CERTIFICATE"), "is no certificate"),
        (pem(leaf, middle).decode().encode("utf-16"), "UTF-16"),
        (b"-----BEGIN PRIVATE KEY-----\n", "private key"),
        (pem(leaf) + b"-----BEGIN EC PRIVATE KEY-----\n", "private key"),
        (pem(leaf) + b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n", "private key"),
        (b"-----BEGIN PKCS7-----\nAAAA\n-----END PKCS7-----\n", "PKCS#7"),
        (b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n", "a request"),
        (pkcs7.serialize_certificates([leaf, middle], Encoding.DER), "PKCS#7"),
        (
            pkcs12.serialize_key_and_certificates(b"x", LEAF.key, leaf, [middle], BestAvailableEncryption(b"secret")),
            "PKCS#12",
        ),
        (leaf.tbs_certificate_bytes, "no certificate"),
        (leaf.public_bytes(Encoding.DER) + b"\n", "1 bytes behind the end of its first structure"),
        (
            leaf.public_bytes(Encoding.DER) + middle.public_bytes(Encoding.DER),
            f"{len(middle.public_bytes(Encoding.DER))} bytes behind the end of its first structure",
        ),
        (pem(leaf) * 11, "11 certificates"),
        (b"\n" * (10 * 1024 * 1024), "more than 256 kB"),
        (pem(leaf) + LEAF.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), "private key"),
    ],
    ids=["empty", "zeros", "damaged", "cut-off", "nul", "trusted", "utf-16", "key", "ec-key", "encrypted-key", "p7b-pem", "csr", "p7b", "p12", "tbs", "der-line-end", "der-twice", "eleven", "ten-mb", "with-key"],
)  # fmt: skip
def test_what_is_no_chain_is_named(raw: bytes, problem: str) -> None:
    """The error says what the file is, and how to get a chain from it."""
    with pytest.raises(ChainInvalid) as caught:
        read_chain(raw)

    assert problem in caught.value.problem
    assert caught.value.remedy


@pytest.mark.parametrize("bit", [1, 2, 4, 32, 128])
def test_a_certificate_of_which_one_bit_is_wrong_is_refused_or_read(bit: int) -> None:
    """The library has more kinds of errors than one, and reads names and keys when they are asked for."""
    raw = leaf.public_bytes(Encoding.DER)
    refused = 0
    for i in range(len(raw)):
        changed = raw[:i] + bytes((raw[i] ^ bit,)) + raw[i + 1 :]
        try:
            chain = read_chain(changed)
        except ChainInvalid:
            refused += 1
            continue
        chain.warnings(NOW, code_signing=True)
        assert chain.trust_anchor
        assert not chain.has_root
        for ask in (
            lambda chain=chain: chain.leaf_spki,
            lambda chain=chain: Chain((*chain.certificates, middle)).check(NOW),
        ):
            with suppress(ChainInvalid):
                ask()
    assert 0 < refused < len(raw)


@given(st.binary(max_size=400))
def test_no_bytes_break_the_reader(raw: bytes) -> None:
    """Whatever comes is a chain or ``ChainInvalid``."""
    for data in (raw, b"0\x82" + raw, b"-----BEGIN CERTIFICATE-----\n" + raw):
        try:
            read_chain(data)
        except ChainInvalid:
            continue
