"""Lines of sign are turned back into signatures and digests for verification."""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path

import click
import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from msgspec import structs

from queueing.client.signatures import Signature
from queueing.errors import InputUnreadable, ResultInvalid
from queueing.protocol.algorithms import Algorithm
from workers.cli.signing.items import Item
from workers.cli.signing.json_lines import SignedLine, signed_line
from workers.cli.signing.verify import _digest, _line, _lines, _signature

DIGEST = hashlib.sha256(b"content").digest()
SIGNATURE = Signature(
    signature=encode_dss_signature(2**200 + 1, 2**199 + 5),
    algorithm=Algorithm.ECDSA_SHA_256,
    key="release",
    key_version=3,
    public_key_sha256=bytes(32),
    job_id="{acme}" + "0" * 32,
    verified=False,
)


def line_for(name: str, *, raw: bool = False) -> SignedLine:
    """The line of a signature over DIGEST."""
    return signed_line(Item(name=name, hash_name="sha256", digest=DIGEST), SIGNATURE, raw=raw)


@pytest.mark.parametrize("raw", [False, True])
def test_a_line_gives_its_signature_back(raw: bool) -> None:
    """r || s of --raw is encoded as DER again, so that both forms verify alike."""
    line = line_for("a", raw=raw)
    assert len(base64.b64decode(line.signature)) == 64 or not raw
    assert _signature(line) == SIGNATURE


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    """The file named in the line must have the line's digest, unless files are not read."""
    file = tmp_path / "a"
    file.write_bytes(b"content")
    line = line_for(str(file))
    assert _digest(line, line.name, read_files=True) == DIGEST
    file.write_bytes(b"changed")
    with pytest.raises(ResultInvalid):
        _digest(line, line.name, read_files=True)
    assert _digest(line, line.name, read_files=False) == DIGEST


@pytest.mark.parametrize(
    "raw", [b"{}", b"not json", b'{"name": "a", "error": {}}', b"[" * 100_000, b'{"name": "\xff"}']
)
def test_a_line_without_a_signature_is_refused(raw: bytes) -> None:
    """Lines of failed items, and other text, are unreadable input."""
    with pytest.raises(InputUnreadable):
        _line(raw)


HEX = DIGEST.hex()


@pytest.mark.parametrize("read_files", [False, True])
@pytest.mark.parametrize(
    "digest",
    [
        None,
        "",
        ":",
        HEX,
        f":{HEX}",
        "sha256:",
        "sha256:xyz",
        f"SHA256:{HEX}",
        f"sha-256:{HEX}",
        f" sha256:{HEX}",
        f"sha256: {HEX}",
        f"sha256:{HEX}\n",
        f"sha256:{HEX.upper()}",
        f"sha256:{HEX[2:]}",
        f"sha256:{HEX}00",
        f"sha512:{HEX}",
        f"sha1:{HEX[:40]}",
        f"md5:{HEX[:32]}",
    ],
)
def test_a_digest_in_another_form_is_refused(digest: str | None, read_files: bool, tmp_path: Path) -> None:
    """Only ALG:HEX as `sign` prints it is a digest; no other spelling lets a file pass unread."""
    file = tmp_path / "a"
    file.write_bytes(b"content")
    line = structs.replace(line_for(str(file)), digest=digest)
    with pytest.raises(InputUnreadable, match="the line's"):
        _digest(line, line.name, read_files=read_files)


@pytest.mark.parametrize("name", ["missing", "", "folder", "pipe", "nul\0", "long" * 200, "folder/missing"])
def test_a_file_that_is_not_read_is_never_verified(name: str, tmp_path: Path) -> None:
    """A line whose file cannot be hashed fails, unless only digests were asked for."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    line = line_for(f"{tmp_path}/{name}")
    with pytest.raises(InputUnreadable, match=r"the file was not compared.*--digests-only"):
        _digest(line, line.name, read_files=True)
    assert _digest(line, line.name, read_files=False) == DIGEST


@pytest.mark.parametrize(
    "field, value", [("signature", "%"), ("public_key_sha256", "xyz"), ("algorithm", "MD5")]
)
def test_a_malformed_field_is_refused(field: str, value: str) -> None:
    """Signature in base64, fingerprint in hex and a known algorithm are required."""
    line = line_for("a")
    fields = {name: getattr(line, name) for name in SignedLine.__struct_fields__} | {field: value}
    with pytest.raises(InputUnreadable):
        _signature(SignedLine(**fields))


def test_results_are_read_from_a_file_that_has_an_end() -> None:
    with pytest.raises(click.UsageError, match="a folder or a device"):
        list(_lines(Path("/dev/zero")))


def test_a_line_longer_than_any_is_not_held_and_the_next_is_read(tmp_path: Path) -> None:
    """Empty lines count for the places of the others."""
    results = tmp_path / "results"
    results.write_bytes(b"\xef\xbb\xbffirst\n\n" + b"x" * (5 << 20) + b"\nlast")
    assert list(_lines(results)) == [
        (f"{results}:1", b"first"),
        (f"{results}:3", None),
        (f"{results}:4", b"last"),
    ]
