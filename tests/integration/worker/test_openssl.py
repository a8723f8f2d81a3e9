"""Signatures of the whole service verify with the `openssl` command line, without code of this project."""

from __future__ import annotations

import base64
import hashlib
import subprocess
from pathlib import Path

import pytest

from queueing import Signature
from queueing.protocol.algorithms import FACTS, Algorithm, KeyKind, Scheme
from tests.support.rig.shared_rig import EACH_KIND, SharedRig
from tests.support.tools import tool

MESSAGE = b"what was built\n" * 100


def key_kind(algorithm: Algorithm) -> KeyKind:
    """The kind of initech's key that signs with it."""
    return next(kind for kind in EACH_KIND if kind in FACTS[algorithm].key_kinds)


def command(algorithm: Algorithm, public: Path, signature: Path, message: Path, digest: Path) -> list[str]:
    facts = FACTS[algorithm]
    if facts.scheme is Scheme.EDDSA:
        words = [
            "pkeyutl",
            "-verify",
            "-pubin",
            "-inkey",
            public,
            "-rawin",
            "-in",
            digest,
            "-sigfile",
            signature,
        ]
        return [tool("openssl"), *map(str, words)]
    words = ["dgst", f"-{facts.hash_name}", "-verify", public, "-signature", signature]
    if facts.scheme is Scheme.PSS:
        words += ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest"]
    return [tool("openssl"), *map(str, words), str(message)]


@pytest.mark.parametrize("algorithm", Algorithm)
async def test_openssl_verifies_what_was_signed(
    shared_rig: SharedRig, tmp_path: Path, algorithm: Algorithm
) -> None:
    """The signature over the hash of a file verifies, and over the hash of another file it does not."""
    kind = key_kind(algorithm)
    digest = hashlib.new(FACTS[algorithm].hash_name or "sha256", MESSAGE).digest()
    async with shared_rig.rig.client("initech") as client:
        signature = await client.sign(kind.lower().replace("_", "-"), digest, algorithm, timeout_s=60)
    assert isinstance(signature, Signature)
    assert signature.verified
    spki = shared_rig.rig.tokens["initech"].keys[f"initech.{kind}"].spki
    pem = base64.encodebytes(spki).decode()
    files = [tmp_path / name for name in ("key.pem", "signature", "message", "digest")]
    contents = [
        f"-----BEGIN PUBLIC KEY-----\n{pem}-----END PUBLIC KEY-----\n".encode(),
        signature.signature,
        MESSAGE,
        digest,
    ]
    for file, content in zip(files, contents, strict=True):
        file.write_bytes(content)
    done = subprocess.run(command(algorithm, *files), check=False, capture_output=True, timeout=20)
    assert done.returncode == 0, done.stdout + done.stderr
    files[2].write_bytes(MESSAGE + b"!")
    files[3].write_bytes(bytes(len(digest)))
    done = subprocess.run(command(algorithm, *files), check=False, capture_output=True, timeout=20)
    assert done.returncode != 0
