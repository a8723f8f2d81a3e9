"""Encodings between PKCS#11 and X.509: ECDSA signatures, EC points, SPKI."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)

from queueing.protocol.algorithms import KEY_KINDS, KeyFamily, KeyKind, KeyKindFacts
from queueing.protocol.der import SHORT_FORM, octets, oid
from queueing.protocol.public_keys import elliptic_curve, unsigned_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

_LARGEST_INTEGER_BYTES: Final = 67  # 66 of P-521, and a byte for the sign of what is no number of that curve
_INTEGER_HEADER: Final = [bytes((0x02, n)) for n in range(_LARGEST_INTEGER_BYTES + 1)]
_INTEGER_HEAD_BYTES: Final = 2


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
    return (bytes((0x30, size)) if size < SHORT_FORM else bytes((0x30, 0x81, size))) + body


MOST_ZEROS_LEFT_OUT: Final = 6
"""A signature with more leading zero bytes than this in both integers together occurs once in 2^48."""


def ecdsa_readings(raw: bytes, full_bytes: int) -> Iterator[bytes]:
    """Possible meanings, in DER, of an ECDSA signature that is not ``full_bytes`` long: DER, whose integers may lack the
    zero before a set top bit or have more zeros, or ``r || s`` without leading zeros of the one, the other or both.
    """
    if (integers := _der_integers(raw)) is not None:
        half = full_bytes // 2
        r, s = (integer.lstrip(b"\0") for integer in integers)
        if len(r) <= half and len(s) <= half:
            yield ecdsa_der(r.rjust(half, b"\0") + s.rjust(half, b"\0"))
    half, missing = full_bytes // 2, full_bytes - len(raw)
    if not 0 < missing <= MOST_ZEROS_LEFT_OUT:
        return
    for missing_of_r in range(missing + 1):
        r, s = raw[: half - missing_of_r], raw[half - missing_of_r :]
        yield ecdsa_der(r.rjust(half, b"\0") + s.rjust(half, b"\0"))


def rsa_readings(raw: bytes, full_bytes: int) -> Iterator[bytes]:
    """The RSA (or Ed25519) signature that lacks leading zeros, in full length."""
    if 0 < full_bytes - len(raw) <= MOST_ZEROS_LEFT_OUT:
        yield raw.rjust(full_bytes, b"\0")


def _der_integers(der: bytes) -> tuple[bytes, bytes] | None:
    """Contents of the two INTEGERs of an Ecdsa-Sig-Value, unsigned; None for anything else."""
    head = 3 if der[1:2] == b"\x81" else 2
    if der[:1] != b"\x30" or len(der) <= head or der[head - 1] != len(der) - head:
        return None
    found, rest = [], der[head:]
    for _ in range(2):
        if (
            rest[:1] != b"\x02"
            or len(rest) < _INTEGER_HEAD_BYTES
            or len(rest) < _INTEGER_HEAD_BYTES + rest[1]
        ):
            return None
        end = _INTEGER_HEAD_BYTES + rest[1]
        found.append(rest[_INTEGER_HEAD_BYTES:end])
        rest = rest[end:]
    return None if rest else (found[0], found[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Curve in PKCS#11: values of CKA_EC_PARAMS (DER; the first is written, all are read), and the length of its
    point before CKA_EC_POINT wraps it in an OCTET STRING.
    """

    kind: KeyKind
    params: tuple[bytes, ...]
    point_bytes: int

    @property
    def compressed_bytes(self) -> int:
        """Length of a compressed point; Edwards points have one form."""
        if KEY_KINDS[self.kind].family is KeyFamily.EDWARDS:
            return self.point_bytes
        return (self.point_bytes - 1) // 2 + 1


_OTHER_PARAMS: Final[dict[KeyFamily, tuple[bytes, ...]]] = {
    KeyFamily.EDWARDS: (  # of Ed25519
        b"\x13\x0cedwards25519",  # PrintableString, PKCS#11 3.1, 6.3.5; SoftHSM keeps what it is given
        bytes.fromhex("06092b06010401da470f01"),  # edwards25519 in the arc of GnuPG, as PKCS#11 2.x modules
    ),
}


def _curve(kind: KeyKind, facts: KeyKindFacts) -> Curve:
    named = oid(facts.curve_oid)
    other = _OTHER_PARAMS.get(facts.family, ())
    # PKCS#11 3.1, 6.3.5 names Edwards curves by their PrintableString; all other curves are named by their OID.
    params = (other[0], named, *other[1:]) if other else (named,)
    return Curve(kind=kind, params=params, point_bytes=facts.point_bytes)


CURVES: Final[tuple[Curve, ...]] = tuple(
    _curve(kind, facts) for kind, facts in KEY_KINDS.items() if facts.curve
)
CURVE_OF: Final[dict[KeyKind, Curve]] = {curve.kind: curve for curve in CURVES}

_RSA_SIZES: Final = frozenset(facts.rsa_bits for facts in KEY_KINDS.values() if facts.rsa_bits)


def curve_for_params(params: bytes) -> Curve | None:
    """The curve that CKA_EC_PARAMS names; None for any other."""
    return next((curve for curve in CURVES if params in curve.params), None)


def bit_string(content: bytes) -> bytes:
    """``content`` (at most 254 bytes) as a DER BIT STRING."""
    size = len(content) + 1
    return (bytes((0x03, size, 0)) if size < SHORT_FORM else bytes((0x03, 0x81, size, 0))) + content


def bare_point(curve: Curve, point: bytes) -> bytes | None:
    """The uncompressed point in CKA_EC_POINT, which modules give wrapped (an OCTET STRING by the standard, a BIT STRING by
    some) or raw, and may compress (SEC 1, 2.3.3); None if it is no point.

    An OCTET STRING and an uncompressed point both begin with 04: the length tells which.
    """
    for size in (curve.point_bytes, curve.compressed_bytes):
        bare = point[-size:]
        if len(bare) == size and point in (bare, octets(bare), bit_string(bare)):
            return bare if size == curve.point_bytes else _decompressed(curve, bare)
    return None


def _decompressed(curve: Curve, point: bytes) -> bytes | None:
    try:
        key = ec.EllipticCurvePublicKey.from_encoded_point(elliptic_curve(curve.kind), point)
    except ValueError:
        return None
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def same_number(one: bytes, other: bytes) -> bool:
    """Whether two big integers of PKCS#11 are equal; some tokens keep them with leading zeros."""
    return int.from_bytes(one, "big") == int.from_bytes(other, "big")


def rsa_spki(modulus: bytes, exponent: bytes) -> bytes | None:
    """The SPKI of CKA_MODULUS and CKA_PUBLIC_EXPONENT (big endian); None for what we do not sign with."""
    n, e = int.from_bytes(modulus, "big"), int.from_bytes(exponent, "big")
    if n.bit_length() not in _RSA_SIZES:
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
    if KEY_KINDS[curve.kind].family is KeyFamily.EDWARDS:
        return _spki(ed25519.Ed25519PublicKey.from_public_bytes(bare))
    try:
        return _spki(ec.EllipticCurvePublicKey.from_encoded_point(elliptic_curve(curve.kind), bare))
    except ValueError:
        return None


def why_no_spki(
    *, modulus: bytes = b"", exponent: bytes = b"", params: bytes = b"", point: bytes = b""
) -> str:
    """Reason why ``rsa_spki`` or ``ec_spki`` made nothing of these values."""
    if bits := int.from_bytes(modulus, "big").bit_length():
        if bits not in _RSA_SIZES:
            sizes = ", ".join(str(size) for size in sorted(_RSA_SIZES))
            return f"the key is RSA of {bits} bits, and only RSA of {sizes} bits signs here"
        return (
            "its public exponent is not shown by the token"
            if not exponent
            else "its RSA numbers are not valid"
        )
    if params[:1] == b"\x30":
        return (
            "the key's CKA_EC_PARAMS are explicit curve parameters, and only named curves sign here"
            f" ({_curve_names()}); create a key by the curve's name"
        )
    if params and curve_for_params(params) is None:
        return f"the key is on another curve than those that sign here ({_curve_names()})"
    if params and point:
        return "the key's CKA_EC_POINT is no point of its curve"
    return "its public key is not in the token exactly once"


def _curve_names() -> str:
    return ", ".join(str(curve.kind) for curve in CURVES)


def rsa_numbers(spki: bytes) -> tuple[bytes, bytes]:
    """Modulus and public exponent of an RSA key, as PKCS#11 big integers (big endian, no leading zero)."""
    key = load_der_public_key(spki)
    assert isinstance(key, rsa.RSAPublicKey), "the caller looked at the kind"
    numbers = key.public_numbers()
    return unsigned_bytes(numbers.n), unsigned_bytes(numbers.e)


def curve_point(spki: bytes) -> bytes:
    """The bare point of an EC or Ed25519 key."""
    key = load_der_public_key(spki)
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key.public_bytes_raw()
    assert isinstance(key, ec.EllipticCurvePublicKey), "the caller looked at the kind"
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def _spki(key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
