"""Key creation inside the token, and adoption of keys that the vendor's tools created. No key is imported."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pkcs11 import Attribute, KeyType, MechanismFlag

from queueing.protocol.algorithms import KEY_KINDS, KeyKind
from queueing.protocol.public_keys import PublicKey
from workers.hsm.encodings import CURVE_OF, ec_spki, rsa_spki, why_no_spki
from workers.hsm.faults import Action, HsmFailure, translated
from workers.hsm.keys import (
    IDENTITY,
    KeyMissing,
    KeyRefused,
    find_key,
    read_attributes,
    require_attributes,
)
from workers.hsm.mechanisms import has_none_of, key_type
from workers.hsm.objects import all_private_keys, all_public_keys, attributes_of, objects, read_settled
from workers.state.token_claims import unpadded

if TYPE_CHECKING:
    import pkcs11

_OWN_TOOL: Final = "if the token has a tool of its own that creates such keys, create the key with it, then run `sigmill keys adopt`"
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


def create_key(session_rw: pkcs11.Session, kind: KeyKind, label: str, key_id: bytes = b"") -> KeyRecord:
    """Generate a key pair in the token: it signs, does nothing else, and never leaves. ``key_id``: its CKA_ID, random where empty.

    Raises ``KeyRefused`` if the label is taken, the token does not create such keys, or what it made does not have the
    required attributes (it is destroyed then); ``HsmFailure``. Takes up to seconds for RSA-4096.
    """
    with translated():
        if not label:
            raise KeyRefused("a key needs a label")
        if objects(session_rw, {Attribute.LABEL: label}):
            raise KeyRefused(f"the label {label!r} exists in the token already")
    public, private = _generated(session_rw, kind, label, key_id or secrets.token_bytes(_KEY_ID_BYTES))
    try:
        return _as_asked(session_rw, private, public, kind)
    except (KeyRefused, KeyMissing):
        with translated():
            private.destroy()
            public.destroy()
        raise


def _generated(
    session: pkcs11.Session, kind: KeyKind, label: str, key_id: bytes
) -> tuple[pkcs11.PublicKey, pkcs11.PrivateKey]:
    try:
        with translated():
            return _generate(session, kind, label, key_id)
    except HsmFailure as failure:
        if failure.action is Action.PERMANENT:
            raise KeyRefused(
                f"the token creates no {kind} key that signs and does nothing else ({failure.code_name}); {_OWN_TOOL}"
            ) from failure
        detail = f"while the token created the key; if that repeats: {_OWN_TOOL}"
        raise HsmFailure(
            failure.code_name, failure.code, failure.action, pin_failure=failure.pin_failure, detail=detail
        ) from failure


def list_keys(session: pkcs11.Session) -> list[KeyRecord]:
    """Private keys of known kinds whose public part can be read, by label; their attributes are reported, not
    checked. A few round trips for each object.
    """
    with translated():
        records = (_record(pair) for pair in read_settled(lambda: _pairs(session)))
        return sorted(
            (record for record in records if isinstance(record, KeyRecord)),
            key=lambda record: (record.label, record.key_id),
        )


def adopt_key(session: pkcs11.Session, *, label: str | None = None, key_id: bytes | None = None) -> KeyRecord:
    """Adopt the one private key with this label, this CKA_ID, or both, after all the checks that signing makes.

    Raises ``KeyRefused`` with the problem: not exactly one, of no known kind, no public part, a
    required attribute that is not as it must be, or a public key that two private keys claim.
    """
    label = unpadded(label or "")
    if not label and not key_id:
        raise KeyRefused("name the key by its label or its CKA_ID")
    with translated():
        found = [
            pair
            for pair in read_settled(lambda: _pairs(session))
            if (not label or pair.label == label) and (not key_id or pair.key_id == key_id)
        ]
        if len(found) != 1:
            raise KeyRefused(f"{len(found)} private keys match, exactly one must")
        record = _record(found[0])
    if isinstance(record, str):
        raise KeyRefused(record)
    require_attributes(found[0].private)
    find_key(session, record.public_key)
    if missing := has_none_of(session.token.slot, KEY_KINDS[record.kind].family):
        names = " or ".join(f"CKM_{mechanism.name}" for mechanism in missing)
        raise KeyRefused(f"the token does not list {names}, so a {record.kind} key in it cannot sign digests")
    return record


def _generate(
    session: pkcs11.Session, kind: KeyKind, label: str, key_id: bytes
) -> tuple[pkcs11.PublicKey, pkcs11.PrivateKey]:
    common: dict[str, Any] = {
        "id": key_id,
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


def _as_asked(
    session: pkcs11.Session, private: pkcs11.PrivateKey, public: pkcs11.PublicKey, kind: KeyKind
) -> KeyRecord:
    """Record of a new key, after the checks that signing makes: a key that cannot be found would never sign."""
    require_attributes(private)
    with translated():
        record = _record(_Pair(private, attributes_of(private, *IDENTITY), attributes_of(public, *IDENTITY)))
    if isinstance(record, str) or record.kind is not kind:
        raise KeyRefused("the token made another key than it was asked for")
    find_key(session, record.public_key)
    return record


@dataclass(frozen=True, slots=True)
class _Pair:
    """Private key, and what it and its public object show; ``public`` is empty where there is not exactly one."""

    private: pkcs11.PrivateKey
    shown: Mapping[Attribute, Any]
    public: Mapping[Attribute, Any]

    @property
    def label(self) -> str:
        return str(self.shown.get(Attribute.LABEL, ""))

    @property
    def key_id(self) -> bytes:
        return bytes(self.shown.get(Attribute.ID, b""))


def _pairs(session: pkcs11.Session) -> list[_Pair]:
    """All private keys with their public halves. Two searches, and one read for each object."""
    by_name: dict[tuple[Any, Attribute, Any], list[Mapping[Attribute, Any]]] = {}
    for item in all_public_keys(session):
        public = attributes_of(item, *IDENTITY)
        for name in (Attribute.ID, Attribute.LABEL, Attribute.MODULUS):
            if value := public.get(name):
                by_name.setdefault(
                    (public.get(Attribute.KEY_TYPE), name, _comparable(name, value)), []
                ).append(public)
    pairs = []
    for private in all_private_keys(session):
        shown = attributes_of(private, *IDENTITY)
        pairs.append(_Pair(private, shown, _public_of(shown, by_name)))
    return pairs


def _comparable(name: Attribute, value: Any) -> Any:
    return int.from_bytes(value, "big") if name is Attribute.MODULUS else value


def _public_of(
    shown: Mapping[Attribute, Any],
    by_name: Mapping[tuple[Any, Attribute, Any], list[Mapping[Attribute, Any]]],
) -> Mapping[Attribute, Any]:
    """Public object of a private key: that with its modulus, else its CKA_ID, else, without one, its label."""
    names = (Attribute.MODULUS, Attribute.ID, Attribute.LABEL)
    name = next((each for each in names if shown.get(each)), None)
    if name is None:
        return {}
    found = by_name.get((shown.get(Attribute.KEY_TYPE), name, _comparable(name, shown[name])), [])
    return found[0] if len(found) == 1 or (found and name is Attribute.MODULUS) else {}


def _record(pair: _Pair) -> KeyRecord | str:
    """Record of a key, or the reason why it is none that signs here."""
    spki = _spki_of(pair)
    if isinstance(spki, str):
        return spki
    public_key = PublicKey.from_spki(spki)
    return KeyRecord(
        label=pair.label,
        key_id=pair.key_id.hex(),
        kind=public_key.kind,
        public_key=public_key,
        attributes=read_attributes(pair.private),
    )


def _spki_of(pair: _Pair) -> bytes | str:
    """SPKI from the private key itself, and what it lacks from its public object; or the reason why there is none."""
    shown = {**pair.public, **pair.shown}
    type_ = pair.shown.get(Attribute.KEY_TYPE)
    if type_ is KeyType.RSA:
        modulus, exponent = shown.get(Attribute.MODULUS, b""), shown.get(Attribute.PUBLIC_EXPONENT, b"")
        return rsa_spki(modulus, exponent) or why_no_spki(modulus=modulus, exponent=exponent)
    if type_ not in (KeyType.EC, KeyType.EC_EDWARDS):
        return "the key is of no kind that signs here: only RSA, EC and Ed25519 keys do"
    params, point = shown.get(Attribute.EC_PARAMS, b""), shown.get(Attribute.EC_POINT, b"")
    return ec_spki(params, point) or why_no_spki(params=params, point=point)
