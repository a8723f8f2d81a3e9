"""Each algorithm on a real module: verified by ``PublicKey`` and, independently, by the openssl command."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from queueing.protocol.algorithms import FACTS, Algorithm, KeyKind, Scheme
from queueing.protocol.public_keys import PublicKey
from tests.integration.hsm.conftest import Keys
from tests.support.tools import tool

WRONG_LENGTHS = [0, 1, 20, 31, 33, 100_000]


@pytest.fixture(scope="module")
def signatures(keys: Keys) -> list[tuple[bytes, Algorithm, bytes, bytes]]:
    """(SPKI, algorithm, digest, signature) for every kind, algorithm and digest length."""
    rows: list[list[Any]] = keys.run("sign_everything", spkis=[keys.spki(kind) for kind in KeyKind])[
        "signatures"
    ]
    return [(bytes.fromhex(k), Algorithm(a), bytes.fromhex(d), bytes.fromhex(s)) for k, a, d, s in rows]


def openssl_options(algorithm: Algorithm) -> list[str]:
    facts = FACTS[algorithm]
    if facts.scheme is Scheme.EDDSA:
        return ["-rawin"]
    options = ["-pkeyopt", f"digest:{facts.hash_name}"]
    if facts.scheme is Scheme.PSS:
        options += ["-pkeyopt", "rsa_padding_mode:pss", "-pkeyopt", "rsa_pss_saltlen:digest"]
        options += ["-pkeyopt", f"rsa_mgf1_md:{facts.hash_name}"]
    return options


def openssl_verifies(
    directory: Path, spki: bytes, algorithm: Algorithm, digest: bytes, signature: bytes
) -> bool:
    pem = load_der_public_key(spki).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    files = {"key.pem": pem, "digest": digest, "signature": signature}
    for name, content in files.items():
        (directory / name).write_bytes(content)
    command = [tool("openssl"), "pkeyutl", "-verify", "-pubin", "-inkey", str(directory / "key.pem")]
    command += ["-in", str(directory / "digest"), "-sigfile", str(directory / "signature")]
    done = subprocess.run(
        [*command, *openssl_options(algorithm)], check=False, capture_output=True, text=True, timeout=30
    )
    return done.returncode == 0 and "Signature Verified Successfully" in done.stdout


def test_every_kind_signs_with_every_algorithm_that_fits_it(
    signatures: list[tuple[bytes, Algorithm, bytes, bytes]],
) -> None:
    got = {
        (PublicKey.from_spki(spki).kind, algorithm, len(digest)) for spki, algorithm, digest, _ in signatures
    }
    wanted = {
        (kind, algorithm, length)
        for algorithm, facts in FACTS.items()
        for kind in facts.key_kinds
        for length in facts.digest_lengths
    }
    assert got == wanted
    assert len(wanted) == 18 + 3 + 3


def test_signatures_of_the_module_verify_under_the_pinned_key(
    signatures: list[tuple[bytes, Algorithm, bytes, bytes]],
) -> None:
    for spki, algorithm, digest, signature in signatures:
        PublicKey.from_spki(spki).verify(algorithm, digest, signature)


def test_what_the_module_signed_verifies_with_openssl_and_a_changed_digest_does_not(
    signatures: list[tuple[bytes, Algorithm, bytes, bytes]], tmp_path: Path
) -> None:
    for spki, algorithm, digest, signature in signatures:
        assert openssl_verifies(tmp_path, spki, algorithm, digest, signature), algorithm
        changed = bytes([digest[0] ^ 1]) + digest[1:]
        assert not openssl_verifies(tmp_path, spki, algorithm, changed, signature), algorithm


@pytest.mark.timeout(60)
@pytest.mark.parametrize("native", [False, True], ids=["python", "native"])
def test_two_threads_on_two_sessions_sign_for_seconds(keys: Keys, native: bool) -> None:
    """Fact 1: with python-pkcs11's own initialisation this ends in a crash within seconds."""
    result = keys.run("two_threads", spki=keys.spki("P256"), seconds=5.0, native=native)
    assert result["errors"] == []
    assert min(result["counts"]) > 100


def test_no_digest_of_a_wrong_length_reaches_the_module_which_lives_on(keys: Keys) -> None:
    """Fact 3: the child is alive after each, and signs."""
    spkis = [keys.spki(kind) for kind in KeyKind]
    result = keys.run("wrong_lengths", spkis=spkis, lengths=WRONG_LENGTHS)
    pairs = sum(len(facts.key_kinds) for facts in FACTS.values())
    assert result == {"refused": pairs * len(WRONG_LENGTHS), "reached": []}


def test_softhsm_itself_signs_a_digest_of_any_length(keys: Keys) -> None:
    """SoftHSM signs digests of a wrong length: the reason why this code checks them. If this fails, the check still stays."""
    assert keys.run("raw_lengths_of_softhsm", spki=keys.spki("P256"))["signed"] == [64, 64, 64]


def test_closing_one_session_leaves_the_others_logged_in_and_signing(keys: Keys) -> None:
    """Fact 4: the closed session has its own error, and its replacement signs."""
    result = keys.run("close_one_session", spki=keys.spki("P256"))
    first, closed, third = result["after_close"]
    assert (first["error"], third["error"]) == (None, None)
    assert (closed["name"], closed["action"]) == ("CKR_SESSION_HANDLE_INVALID", "drop_session")
    assert [item["error"] for item in result["after_replace"]] == [None, None, None]


def test_a_signer_pinned_to_one_key_releases_nothing_signed_by_another(keys: Keys) -> None:
    """Fact 2: a handle may become another key's, whose signature is not released and replaces the lane."""
    result = keys.run("foreign_handle", pinned=keys.spki("P256"), handle_of=keys.spki("other"))
    assert result["released"] == 0
    assert result["ended"]["action"] == "replace_lane"
    assert "does not verify" in result["ended"]["text"]
