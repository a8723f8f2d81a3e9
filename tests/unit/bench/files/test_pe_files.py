"""The bench's files are PE files, and no two are alike."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bench.files.pe_files import pe_head, write_certificate, write_pe_files
from tests.support.keys import rsa_key, spki_of


@pytest.mark.parametrize("body_bytes", [1, 512, 1 << 20])
def test_a_head_describes_the_section_behind_it(body_bytes: int) -> None:
    """Signature, machine and sizes are where the PE format has them; the section is aligned to the file's 512 bytes."""
    head = pe_head(body_bytes)
    (at,) = struct.unpack_from("<I", head, 60)
    assert head[at : at + 4] == b"PE\0\0"
    machine, sections, *_, optional_bytes, _ = struct.unpack_from("<HHIIIHH", head, at + 4)
    assert (machine, sections, optional_bytes) == (0x8664, 1, 240)
    size, place = struct.unpack_from("<II", head, at + 24 + optional_bytes + 16)
    assert place == len(head) == 512
    assert size % 512 == 0
    assert 0 <= size - body_bytes < 512


def test_files_differ(tmp_path: Path) -> None:
    """Else one signature would do for all: digests that are equal share a job."""
    write_pe_files(tmp_path / "f", 20, 4096)
    contents = [file.read_bytes() for file in (tmp_path / "f").iterdir()]
    assert len(set(contents)) == 20
    assert {len(each) for each in contents} == {4096}


def test_the_leaf_certificate_is_of_the_key_and_issued_by_the_other(tmp_path: Path) -> None:
    """As osslsigncode and `sign-file` want it."""
    spki = spki_of(rsa_key())
    leaf, authority = (
        x509.load_pem_x509_certificate(file.read_bytes()) for file in write_certificate(spki, tmp_path)
    )
    leaf.verify_directly_issued_by(authority)
    assert leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == spki
