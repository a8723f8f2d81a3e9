"""Objects of the agent's token: public key, private key and certificates of a key version, as PKCS#11 attributes.

Objects of one key version share CKA_ID, which is its name (``release``) as bytes: tools pair them by it. A private key's
object has nothing secret; it only names a key that a lane signs with.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from queueing.agent.cryptoki import Attribute, AttributeValue, KeyType, ObjectClass
from queueing.protocol.algorithms import KEY_KINDS, Algorithm
from queueing.protocol.der import octets, oid
from queueing.protocol.public_keys import PublicKey, unsigned_bytes

_X509: Final = 0
"""CKC_X_509."""

_TOKEN_USER, _AUTHORITY = 1, 2
"""CKA_CERTIFICATE_CATEGORY: CK_CERTIFICATE_CATEGORY_TOKEN_USER and …_AUTHORITY."""


_NAMES: Final = (Attribute.LABEL, Attribute.ID)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenKey:
    """A key version that the token shows. ``name``: ``release``, or ``release/2`` beside a newer active version.

    ``spec`` always has the version, so that a tool that saw one version's certificate signs with that version.
    ``certificates`` are DER, leaf first.
    """

    name: str
    spec: str
    public_key: PublicKey
    algorithms: tuple[Algorithm, ...]
    certificates: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenObject:
    """An object. ``identity`` is equal for the same object in a later key directory; ``key`` only of private keys.

    ``alias``: label and ID by which a search finds it, too. The newest version of ``release`` is found as ``release/2``.
    """

    identity: bytes
    attributes: Mapping[int, AttributeValue]
    key: TokenKey | None = None
    alias: bytes | None = None

    def matches(self, template: Sequence[tuple[int, AttributeValue | None]]) -> bool:
        """Whether the object has every attribute of a template."""
        return all(self._has(kind, value) for kind, value in template)

    def _has(self, kind: int, value: AttributeValue | None) -> bool:
        if value is None:
            return False
        return self.attributes.get(kind) == value or (kind in _NAMES and value == self.alias)


def objects_of(key: TokenKey) -> Iterator[TokenObject]:
    """Private key, public key and certificates of a key version; the rest of the chain has names of its own."""
    ident = key.name.encode()
    common = {**_common(key.name, ident), **_key_parts(key.public_key)}
    fingerprint = key.public_key.sha256 + key.spec.encode()
    alias = key.spec.encode()
    yield TokenObject(
        identity=b"private" + fingerprint, attributes={**common, **_PRIVATE_KEY}, key=key, alias=alias
    )
    yield TokenObject(identity=b"public" + fingerprint, attributes={**common, **_PUBLIC_KEY}, alias=alias)
    for position, der in enumerate(key.certificates):
        sha256 = hashlib.sha256(der).digest()
        if position == 0:
            named = _common(key.name, ident)
        else:
            named = _common(f"{key.name} issuer {position}", sha256[:20])
        category = _TOKEN_USER if position == 0 else _AUTHORITY
        yield TokenObject(
            identity=b"certificate" + sha256 + ident,
            attributes={**named, **_certificate(der, category)},
            alias=None if position else alias,
        )


def _common(label: str, ident: bytes) -> dict[int, AttributeValue]:
    return {
        Attribute.TOKEN: True,
        Attribute.PRIVATE: False,
        Attribute.LOCAL: False,
        Attribute.MODIFIABLE: False,
        Attribute.LABEL: label.encode(),
        Attribute.ID: ident,
    }


_PUBLIC_KEY: Final[dict[int, AttributeValue]] = {
    Attribute.CLASS: ObjectClass.PUBLIC_KEY.value,
    Attribute.VERIFY: True,
    Attribute.VERIFY_RECOVER: False,
    Attribute.ENCRYPT: False,
    Attribute.WRAP: False,
    Attribute.DERIVE: False,
}
_PRIVATE_KEY: Final[dict[int, AttributeValue]] = {
    Attribute.CLASS: ObjectClass.PRIVATE_KEY.value,
    Attribute.SIGN: True,
    Attribute.SIGN_RECOVER: False,
    Attribute.DECRYPT: False,
    Attribute.UNWRAP: False,
    Attribute.DERIVE: False,
    Attribute.SENSITIVE: True,
    Attribute.ALWAYS_SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
    Attribute.NEVER_EXTRACTABLE: True,
    Attribute.ALWAYS_AUTHENTICATE: False,
}


def _key_parts(key: PublicKey) -> dict[int, AttributeValue]:
    """Public parts: modulus and exponent as unsigned big-endian; curve and point in DER (PKCS#11 3.1, 6.1 and 6.3)."""
    loaded = load_der_public_key(key.spki)
    parts: dict[int, AttributeValue] = {Attribute.PUBLIC_KEY_INFO: key.spki}
    if isinstance(loaded, rsa.RSAPublicKey):
        numbers = loaded.public_numbers()
        parts |= {
            Attribute.KEY_TYPE: KeyType.RSA.value,
            Attribute.MODULUS: unsigned_bytes(numbers.n),
            Attribute.MODULUS_BITS: loaded.key_size,
            Attribute.PUBLIC_EXPONENT: unsigned_bytes(numbers.e),
        }
    elif isinstance(loaded, ec.EllipticCurvePublicKey):
        point = loaded.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        parts |= {
            Attribute.KEY_TYPE: KeyType.EC.value,
            Attribute.EC_PARAMS: oid(KEY_KINDS[key.kind].curve_oid),
            Attribute.EC_POINT: octets(point),
        }
    return parts


def _certificate(der: bytes, category: int) -> dict[int, AttributeValue]:
    from queueing.protocol.certificates import read_certificate

    certificate = read_certificate(der)
    return {
        Attribute.CLASS: ObjectClass.CERTIFICATE.value,
        Attribute.CERTIFICATE_TYPE: _X509,
        Attribute.CERTIFICATE_CATEGORY: category,
        Attribute.TRUSTED: False,
        Attribute.SUBJECT: certificate.subject.public_bytes(),
        Attribute.ISSUER: certificate.issuer.public_bytes(),
        Attribute.SERIAL_NUMBER: _integer(certificate.serial_number),
        Attribute.VALUE: der,
    }


def _integer(number: int) -> bytes:
    """An INTEGER in DER; a serial number has at most 20 bytes (RFC 5280 4.1.2.2)."""
    content = number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True)
    return bytes((0x02, len(content))) + content
