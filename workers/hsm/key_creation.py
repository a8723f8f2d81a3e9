"""Key creation inside the token, and adoption of keys that the vendor's tools created. No key is imported."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pkcs11 import Attribute, KeyType, MechanismFlag, ObjectClass

from queueing.protocol.algorithms import KEY_KINDS, KeyKind
from queueing.protocol.public_keys import PublicKey
from workers.hsm.encodings import CURVE_OF, ec_spki, rsa_spki
from workers.hsm.faults import translated
from workers.hsm.keys import (
    KeyRefused,
    attributes_of,
    find_key,
    objects,
    private_keys,
    read_attributes,
    require_attributes,
)
from workers.hsm.mechanisms import key_type

if TYPE_CHECKING:
    import pkcs11

_KEY_ID_BYTES: Final = 16  # random: no two keys of a token share it
_PUBLIC_EXPONENT: Final = b"\x01\x00\x01"  # 65537 (CSBR 6.1.6; FIPS 186-5 A.1.1)

_PRIVATE: Final[dict[Attribute, Any]] = {
    Attribute.TOKEN: True,
    Attribute.PRIVATE: True,
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
    Attribute.SIGN: True,
    Attribute.SIGN_RECOVER: False,
    Attribute.DECRYPT: False,
    Attribute.UNWRAP: False,
    Attribute.DERIVE: False,
}
_PUBLIC: Final[dict[Attribute, Any]] = {
    Attribute.TOKEN: True,
    Attribute.VERIFY: True,
    Attribute.ENCRYPT: False,
    Attribute.WRAP: False,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRecord:
    """Key pair in a token: ``key_id`` is CKA_ID in hex, ``attributes`` the required attributes that the private key
    shows (see ``workers.hsm.keys.REQUIRED_ATTRIBUTES``).
    """

    label: str
    key_id: str
    kind: KeyKind
    public_key: PublicKey
    attributes: Mapping[str, bool]


def create_key(session_rw: pkcs11.Session, kind: KeyKind, label: str) -> KeyRecord:
    """Generate a key pair in the token: it signs, does nothing else, and never leaves.

    Raises ``KeyRefused`` if the label is taken, or if what the token made does not have the required
    attributes (it is destroyed then); ``HsmFailure``. Takes up to seconds for RSA-4096.
    """
    with translated():
        if not label:
            raise KeyRefused("a key needs a label")
        if objects(session_rw, {Attribute.LABEL: label}):
            raise KeyRefused(f"the label {label!r} exists in the token already")
        public, private = _generate(session_rw, kind, label)
    try:
        return _as_asked(session_rw, private, kind)
    except KeyRefused:
        with translated():
            private.destroy()
            public.destroy()
        raise


def list_keys(session: pkcs11.Session) -> list[KeyRecord]:
    """Private keys of known kinds whose public part can be read, by label; their attributes are reported, not
    checked. A few round trips for each.
    """
    with translated():
        found = (_record(session, key) for key in private_keys(session, {}))
        return sorted(
            (record for record in found if record), key=lambda record: (record.label, record.key_id)
        )


def adopt_key(session: pkcs11.Session, *, label: str | None = None, key_id: bytes | None = None) -> KeyRecord:
    """Adopt the one key with this label, this CKA_ID, or both, after all the checks that signing makes.

    Raises ``KeyRefused`` with the problem: not exactly one, of no known kind, no public part, a
    required attribute that is not as it must be, or a public key that two private keys claim.
    """
    wanted: dict[Attribute, Any] = {}
    if label:
        wanted[Attribute.LABEL] = label
    if key_id:
        wanted[Attribute.ID] = key_id
    if not wanted:
        raise KeyRefused("name the key by its label or its CKA_ID")
    with translated():
        found = private_keys(session, wanted)
        if len(found) != 1:
            raise KeyRefused(f"{len(found)} private keys match, exactly one must")
        record = _record(session, found[0])
    if record is None:
        raise KeyRefused(
            "the key is of no kind that signs here, or its public key is not in the token exactly once"
        )
    require_attributes(found[0])
    find_key(session, record.public_key)
    return record


def _generate(
    session: pkcs11.Session, kind: KeyKind, label: str
) -> tuple[pkcs11.PublicKey, pkcs11.PrivateKey]:
    common: dict[str, Any] = {
        "id": secrets.token_bytes(_KEY_ID_BYTES),
        "label": label,
        "store": True,
        "capabilities": MechanismFlag.SIGN | MechanismFlag.VERIFY,
        "private_template": _PRIVATE,
    }
    if bits := KEY_KINDS[kind].rsa_bits:
        template = {**_PUBLIC, Attribute.PUBLIC_EXPONENT: _PUBLIC_EXPONENT}
        return session.generate_keypair(KeyType.RSA, bits, public_template=template, **common)
    domain = session.create_domain_parameters(
        key_type(kind), {Attribute.EC_PARAMS: CURVE_OF[kind].params[0]}, local=True
    )
    return domain.generate_keypair(public_template=_PUBLIC, **common)


def _as_asked(session: pkcs11.Session, private: pkcs11.PrivateKey, kind: KeyKind) -> KeyRecord:
    require_attributes(private)
    record = _record(session, private)
    if record is None or record.kind is not kind:
        raise KeyRefused("the token made another key than it was asked for")
    return record


def _record(session: pkcs11.Session, key: pkcs11.PrivateKey) -> KeyRecord | None:
    shown = attributes_of(key, Attribute.LABEL, Attribute.ID)
    spki = _spki_of(session, key, shown.get(Attribute.ID, b""))
    if spki is None:
        return None
    public_key = PublicKey.from_spki(spki)
    return KeyRecord(
        label=shown.get(Attribute.LABEL, ""),
        key_id=shown.get(Attribute.ID, b"").hex(),
        kind=public_key.kind,
        public_key=public_key,
        attributes=read_attributes(key),
    )


def _spki_of(session: pkcs11.Session, key: pkcs11.PrivateKey, key_id: bytes) -> bytes | None:
    """SPKI from the private key itself (RSA), or from the one public object with its CKA_ID."""
    type_ = attributes_of(key, Attribute.KEY_TYPE).get(Attribute.KEY_TYPE)
    if type_ is KeyType.RSA:
        shown = attributes_of(key, Attribute.MODULUS, Attribute.PUBLIC_EXPONENT)
        return rsa_spki(shown.get(Attribute.MODULUS, b""), shown.get(Attribute.PUBLIC_EXPONENT, b""))
    if type_ not in (KeyType.EC, KeyType.EC_EDWARDS) or not key_id:
        return None
    template = {
        Attribute.CLASS: ObjectClass.PUBLIC_KEY,
        Attribute.KEY_TYPE: type_,
        Attribute.ID: key_id,
    }
    found = objects(session, template)
    if len(found) != 1:
        return None
    shown = attributes_of(found[0], Attribute.EC_PARAMS, Attribute.EC_POINT)
    return ec_spki(shown.get(Attribute.EC_PARAMS, b""), shown.get(Attribute.EC_POINT, b""))
