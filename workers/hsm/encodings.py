"""Bytes between PKCS#11 and the rest of the world: DigestInfo, ECDSA signatures, EC points, SPKI."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)

from queueing.protocol.algorithms import KeyKind

DIGEST_INFO_PREFIX: Final[dict[str, bytes]] = {
    # RFC 8017 9.2, note 1: SEQUENCE { SEQUENCE { OID of the hash, NULL }, OCTET STRING header }; the digest
    # follows. CKM_RSA_PKCS adds the padding and nothing else.
    "sha256": bytes.fromhex("3031300d060960864801650304020105000420"),
    "sha384": bytes.fromhex("3041300d060960864801650304020205000430"),
    "sha512": bytes.fromhex("3051300d060960864801650304020305000440"),
}

_LARGEST_INTEGER_BYTES: Final = 66  # P-521: its integers have 521 bits, so no byte is added for the sign
_INTEGER_HEADER: Final = [bytes((0x02, n)) for n in range(_LARGEST_INTEGER_BYTES + 1)]
_SHORT_FORM: Final = 0x80  # X.690 8.1.3: lengths below 128 take one byte, up to 255 two


def ecdsa_der(raw: bytes) -> bytes:
    """``r || s`` (PKCS#11 3.1, 6.3.1) as DER Ecdsa-Sig-Value (RFC 3279 2.2.3), for curves up to P-521.

    A DER INTEGER is signed and minimal: leading zeros go, one comes back where the top bit is set.
    By hand because it is on the hot path: 0.7 us.
    """
    half = len(raw) >> 1
    r = raw[:half].lstrip(b"\0")
    s = raw[half:].lstrip(b"\0")
    if not r or r[0] >= 0x80:
        r = b"\0" + r
    if not s or s[0] >= 0x80:
        s = b"\0" + s
    body = _INTEGER_HEADER[len(r)] + r + _INTEGER_HEADER[len(s)] + s
    size = len(body)
    return (bytes((0x30, size)) if size < _SHORT_FORM else bytes((0x30, 0x81, size))) + body


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """How a curve looks in PKCS#11: CKA_EC_PARAMS (DER; the first is what we write, all are read), and the
    length of its point before CKA_EC_POINT wraps it in an OCTET STRING.
    """

    kind: KeyKind
    params: tuple[bytes, ...]
    point_bytes: int


CURVES: Final[tuple[Curve, ...]] = (
    # RFC 5480 2.1.1.1; points uncompressed, 04 || x || y.
    Curve(kind=KeyKind.P256, params=(bytes.fromhex("06082a8648ce3d030107"),), point_bytes=65),
    Curve(kind=KeyKind.P384, params=(bytes.fromhex("06052b81040022"),), point_bytes=97),
    Curve(kind=KeyKind.P521, params=(bytes.fromhex("06052b81040023"),), point_bytes=133),
    Curve(
        kind=KeyKind.ED25519,
        params=(
            b"\x13\x0cedwards25519",  # PrintableString, PKCS#11 3.1, 6.3.5; SoftHSM keeps what it is given
            bytes.fromhex("06032b6570"),  # id-Ed25519, RFC 8410 3
            bytes.fromhex(
                "06092b06010401da470f01"
            ),  # edwards25519 in the arc of GnuPG, as PKCS#11 2.x modules
        ),
        point_bytes=32,
    ),
)
CURVE_OF: Final[dict[KeyKind, Curve]] = {curve.kind: curve for curve in CURVES}

_RSA_BITS: Final[dict[int, KeyKind]] = {
    2048: KeyKind.RSA_2048,
    3072: KeyKind.RSA_3072,
    4096: KeyKind.RSA_4096,
}
_EC_CURVES: Final[dict[KeyKind, ec.EllipticCurve]] = {
    KeyKind.P256: ec.SECP256R1(),
    KeyKind.P384: ec.SECP384R1(),
    KeyKind.P521: ec.SECP521R1(),
}


def curve_for_params(params: bytes) -> Curve | None:
    """The curve that CKA_EC_PARAMS names; None if it is none of ours."""
    return next((curve for curve in CURVES if params in curve.params), None)


def octet_string(content: bytes) -> bytes:
    """``content`` (at most 255 bytes) as a DER OCTET STRING, as CKA_EC_POINT wants it."""
    size = len(content)
    return (bytes((0x04, size)) if size < _SHORT_FORM else bytes((0x04, 0x81, size))) + content


def bare_point(curve: Curve, point: bytes) -> bytes | None:
    """The point in CKA_EC_POINT, which modules give wrapped (the standard) or raw; None if it is neither.

    Both begin with 04: the length tells which.
    """
    if len(point) == curve.point_bytes:
        return point
    bare = point[-curve.point_bytes :]
    return bare if octet_string(bare) == point else None


def rsa_spki(modulus: bytes, exponent: bytes) -> bytes | None:
    """The SPKI of CKA_MODULUS and CKA_PUBLIC_EXPONENT (big endian); None for what we do not sign with."""
    n, e = int.from_bytes(modulus, "big"), int.from_bytes(exponent, "big")
    if n.bit_length() not in _RSA_BITS:
        return None
    try:
        return _spki(rsa.RSAPublicNumbers(e, n).public_key())
    except ValueError:
        return None


def ec_spki(params: bytes, point: bytes) -> bytes | None:
    """The SPKI of CKA_EC_PARAMS and CKA_EC_POINT; None for other curves and for what is no point."""
    curve = curve_for_params(params)
    bare = bare_point(curve, point) if curve is not None else None
    if curve is None or bare is None:
        return None
    if curve.kind is KeyKind.ED25519:
        return _spki(ed25519.Ed25519PublicKey.from_public_bytes(bare))
    try:
        return _spki(ec.EllipticCurvePublicKey.from_encoded_point(_EC_CURVES[curve.kind], bare))
    except ValueError:
        return None


def rsa_numbers(spki: bytes) -> tuple[bytes, bytes]:
    """Modulus and public exponent of an RSA key, as PKCS#11 big integers (big endian, no leading zero)."""
    key = load_der_public_key(spki)
    assert isinstance(key, rsa.RSAPublicKey), "the caller looked at the kind"
    numbers = key.public_numbers()
    return _big_integer(numbers.n), _big_integer(numbers.e)


def curve_point(spki: bytes) -> bytes:
    """The bare point of an EC or Ed25519 key."""
    key = load_der_public_key(spki)
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key.public_bytes_raw()
    assert isinstance(key, ec.EllipticCurvePublicKey), "the caller looked at the kind"
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def _big_integer(value: int) -> bytes:
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def _spki(key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
