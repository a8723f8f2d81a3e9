"""A mechanism and its input name one algorithm and one digest, or an error that says what to tell the tool."""

from __future__ import annotations

import contextlib
import hashlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queueing.agent.cryptoki import Mechanism
from queueing.agent.rpc.fields import FieldReader, Malformed
from queueing.agent.signing_input import MechanismUse, PssParameters, mechanism_for, read_mechanism
from queueing.errors import AlgorithmMismatch, AlgorithmUnknown, DigestLength, SigningError
from queueing.protocol.algorithms import FACTS, Algorithm, KeyKind, Scheme
from queueing.protocol.der import digest_info_prefix

HASHES = {"sha256": (0x250, 2), "sha384": (0x260, 3), "sha512": (0x270, 4)}
DIGESTS = {name: hashlib.new(name, b"a").digest() for name in (*HASHES, "sha1")}
KEY_HANDLE = struct.pack(">Q", 5)
SHA1_DIGEST_INFO = bytes.fromhex("3021300906052b0e03021a05000414") + DIGESTS["sha1"]


@pytest.mark.parametrize("name", HASHES)
def test_a_digest_info_names_its_hash(name: str) -> None:
    """CKM_RSA_PKCS: the algorithm is that of the DigestInfo, the digest what it holds."""
    use = MechanismUse(mechanism=Mechanism.RSA_PKCS)
    algorithm, digest = use.signing_input(KeyKind.RSA_3072, digest_info_prefix(name) + DIGESTS[name])
    assert algorithm == f"RSASSA_PKCS1_V1_5_SHA_{name[3:]}"
    assert digest == DIGESTS[name]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        DIGESTS["sha256"],
        SHA1_DIGEST_INFO,
        digest_info_prefix("sha256") + DIGESTS["sha256"] + b"x",
        digest_info_prefix("sha256") + DIGESTS["sha256"][:-1],
        digest_info_prefix("sha256") + DIGESTS["sha512"],
        bytes(60_000),
    ],
)
def test_anything_else_than_a_digest_info_is_refused(data: bytes) -> None:
    """SHA-1, a bare digest and a cut DigestInfo are final errors with the option of tools in their hint."""
    with pytest.raises(AlgorithmUnknown) as refused:
        MechanismUse(mechanism=Mechanism.RSA_PKCS).signing_input(KeyKind.RSA_3072, data)
    assert "-h sha256" in refused.value.hint


def pss(name: str, salt_bytes: int, mgf: int | None = None) -> MechanismUse:
    number, own_mgf = HASHES.get(name, (Mechanism.SHA_1, 1))
    return MechanismUse(
        mechanism=Mechanism.RSA_PKCS_PSS,
        pss=PssParameters(hash_mechanism=number, mgf=own_mgf if mgf is None else mgf, salt_bytes=salt_bytes),
    )


@pytest.mark.parametrize("name", HASHES)
def test_pss_has_a_salt_as_long_as_its_hash(name: str) -> None:
    """The only PSS that Sigmill makes, as AWS KMS."""
    digest = DIGESTS[name]
    algorithm, found = pss(name, len(digest)).signing_input(KeyKind.RSA_2048, digest)
    assert (algorithm, found) == (f"RSASSA_PSS_SHA_{name[3:]}", digest)


@pytest.mark.parametrize(
    "use, error",
    [
        (pss("sha256", 20), AlgorithmMismatch),
        (pss("sha256", 222), AlgorithmMismatch),
        (pss("sha256", 32, mgf=1), AlgorithmMismatch),
        (pss("sha1", 20), AlgorithmUnknown),
        (MechanismUse(mechanism=Mechanism.RSA_PKCS_PSS), AlgorithmUnknown),
    ],
)
def test_another_pss_is_never_silently_made(use: MechanismUse, error: type[SigningError]) -> None:
    """A tool that wants another salt would get a signature that it cannot use: it gets an error."""
    with pytest.raises(error):
        use.signing_input(KeyKind.RSA_2048, DIGESTS["sha256"])


@pytest.mark.parametrize(
    "kind, name", [(KeyKind.P256, "sha256"), (KeyKind.P384, "sha384"), (KeyKind.P521, "sha512")]
)
def test_a_curve_has_its_hash(kind: KeyKind, name: str) -> None:
    """CKM_ECDSA does not name a hash: it is the curve's, and a digest of another length is refused."""
    use = MechanismUse(mechanism=Mechanism.ECDSA)
    assert use.signing_input(kind, DIGESTS[name]) == (Algorithm(f"ECDSA_SHA_{name[3:]}"), DIGESTS[name])
    with pytest.raises(DigestLength) as refused:
        use.signing_input(kind, DIGESTS["sha1"])
    assert f"SHA-{name[3:]}" in refused.value.hint


@pytest.mark.parametrize("none", [b"", b"\xff\xff\xff\xff"])
def test_a_mechanism_without_parameters_is_written_in_two_ways(none: bytes) -> None:
    """p11-kit 0.26 writes nothing, earlier versions the length of NULL; the key's handle comes behind it."""
    reader = FieldReader(none + KEY_HANDLE)
    assert read_mechanism(Mechanism.ECDSA, reader, 8) == MechanismUse(mechanism=Mechanism.ECDSA)
    assert reader.ulong() == 5


@pytest.mark.parametrize("flag", [b"", b"\x01"])
def test_pss_parameters_are_written_in_two_ways(flag: bytes) -> None:
    """p11-kit 0.26 writes a byte before them that says that they are there."""
    reader = FieldReader(flag + struct.pack(">QQQ", 0x250, 2, 32) + KEY_HANDLE)
    assert read_mechanism(Mechanism.RSA_PKCS_PSS, reader, 8) == pss("sha256", 32)


@pytest.mark.parametrize("raw", [b"", b"\x00", b"\x01", bytes(23), bytes(26), bytes(4000)])
def test_other_pss_parameters_are_malformed(raw: bytes) -> None:
    """Fewer bytes than three numbers have, or more."""
    with pytest.raises(Malformed):
        read_mechanism(Mechanism.RSA_PKCS_PSS, FieldReader(raw + KEY_HANDLE), 8)


def test_a_mechanism_that_hashes_is_not_the_tokens() -> None:
    """CKM_SHA256_RSA_PKCS would take the file itself."""
    assert read_mechanism(0x40, FieldReader(KEY_HANDLE), 8) is None


def test_every_algorithm_but_ed25519_has_a_mechanism() -> None:
    """p11-kit carries no CKM_EDDSA."""
    without = {algorithm for algorithm in Algorithm if mechanism_for(algorithm) is None}
    assert without == {a for a, facts in FACTS.items() if facts.scheme is Scheme.EDDSA}


USES = [
    (MechanismUse(mechanism=Mechanism.RSA_PKCS), KeyKind.RSA_3072),
    (pss("sha256", 32), KeyKind.RSA_3072),
    (MechanismUse(mechanism=Mechanism.RSA_PKCS_PSS), KeyKind.RSA_3072),
    *((MechanismUse(mechanism=Mechanism.ECDSA), kind) for kind in (KeyKind.P256, KeyKind.P384, KeyKind.P521)),
]


@given(st.sampled_from(USES), st.binary())
def test_any_data_is_signed_or_refused_with_a_code(use: tuple[MechanismUse, KeyKind], data: bytes) -> None:
    """No other exception than a final ``SigningError``."""
    mechanism, kind = use
    assert mechanism.fits(kind)
    with contextlib.suppress(AlgorithmUnknown, AlgorithmMismatch, DigestLength):
        algorithm, digest = mechanism.signing_input(kind, data)
        assert len(digest) in FACTS[algorithm].digest_lengths


def test_a_mechanism_that_is_not_for_signing_names_no_algorithm() -> None:
    """Its input is not taken for that of another mechanism."""
    with pytest.raises(AlgorithmUnknown, match="SHA256"):
        MechanismUse(mechanism=Mechanism.SHA256).signing_input(KeyKind.P256, DIGESTS["sha256"])
