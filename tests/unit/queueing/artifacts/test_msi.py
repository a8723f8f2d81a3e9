"""MSI packages: the digest has the content of the streams in the order of their names, and the signature is a stream."""

from __future__ import annotations

import hashlib
import io

import pytest

from queueing.artifacts.msi import MsiFile, read_msi
from queueing.errors import ArtifactInvalid
from tests.support.artifacts.msi_files import PACKAGE, Content, compound_file

CLSID = bytes(range(16))


def read(raw: bytes) -> MsiFile:
    return read_msi(io.BytesIO(raw), len(raw))


def digest(raw: bytes) -> bytes:
    return read(raw).digest(io.BytesIO(raw), "sha256")


def signed(raw: bytes, signature: bytes) -> bytes:
    to = io.BytesIO()
    written = read(raw).write(io.BytesIO(raw), to, (signature,), "sha256")
    made = to.getvalue()
    assert written == read(made).digest(to, "sha256")
    return made


def test_the_digest_is_that_of_the_streams_by_name() -> None:
    """By the bytes of their names; a storage's CLSID follows what is in it."""
    expected = b"summary" + b"" + b"small" + b"xx" + CLSID + b"i" * 64 + CLSID + b"large" * 3000 + CLSID
    assert digest(compound_file(PACKAGE)) == hashlib.sha256(expected).digest()


@pytest.mark.parametrize("size_bytes", [1, 2000, 4096, 9000])
def test_a_signature_is_read_back_and_is_not_in_the_digest(size_bytes: int) -> None:
    """Of each size: small streams have another place than large ones."""
    raw, signature = compound_file(PACKAGE), b"s" * size_bytes
    made = signed(raw, signature)
    assert read(made).signatures == (signature,)
    assert digest(made) == digest(raw)
    assert signed(made, b"another") == signed(raw, b"another")


def test_another_signature_goes_with_its_extended_stream() -> None:
    """The extended one covers names and times, and is of the old signature."""
    content: Content = {**PACKAGE, "\x05DigitalSignature": b"old", "\x05MsiDigitalSignatureEx": b"e" * 32}
    raw = compound_file(content)
    assert read(raw).signatures == (b"old",)
    assert digest(raw) == digest(compound_file(PACKAGE))
    assert signed(raw, b"new") == signed(compound_file(PACKAGE), b"new")


def test_a_storage_in_the_place_of_the_signature_is_refused() -> None:
    """Also a stream that is too large for one."""
    odds: list[bytes | Content] = [{"x": b"x"}, bytes(2 << 20)]
    for odd in odds:
        with pytest.raises(ArtifactInvalid, match="place of its signature"):
            read(compound_file({"\x05DigitalSignature": odd}))


@pytest.mark.parametrize("name", ["\x05digitalsignature", "\x05MSIDigitalSignatureEx"])
def test_another_spelling_of_the_signatures_name_is_refused(name: str) -> None:
    """Names differ by more than capital letters (2.6.4): Windows would find this stream or the signature."""
    with pytest.raises(ArtifactInvalid, match="place of its signature"):
        read(compound_file({**PACKAGE, name: b"x"}))


def test_a_changed_byte_changes_the_digest() -> None:
    """In a small stream and in a large one."""
    raw = compound_file(PACKAGE)
    for part in (b"small", b"large", b"summary"):
        at = raw.index(part)
        assert digest(raw[:at] + b"X" + raw[at + 1 :]) != digest(raw)
