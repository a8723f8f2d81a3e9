"""Key lookup by the pinned public key; a key whose attributes do not show that it never left the HSM is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

import pkcs11
from pkcs11 import Attribute, KeyType, Mechanism, SignMixin

from queueing.errors import KeyDisabled, TokenUnavailable
from queueing.protocol.algorithms import KEY_KINDS, KeyFamily
from queueing.protocol.der import octets
from workers.hsm.encodings import (
    bare_point,
    curve_for_params,
    curve_point,
    rsa_numbers,
    same_number,
)
from workers.hsm.faults import translated
from workers.hsm.mechanisms import PssParameter, key_type, raw_mechanisms
from workers.hsm.objects import (
    NOT_SHOWN,
    all_private_keys,
    all_public_keys,
    attributes_of,
    private_keys,
    public_keys,
    read_settled,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from queueing.protocol.public_keys import PublicKey

REQUIRED_ATTRIBUTES: Final[dict[str, bool]] = {
    # Requirement 1 (CSBR 6.2.6, 6.2.7): generated inside, never outside; a key that cannot show it is refused.
    "CKA_SIGN": True,
    "CKA_SENSITIVE": True,
    "CKA_EXTRACTABLE": False,
    "CKA_ALWAYS_SENSITIVE": True,
    "CKA_NEVER_EXTRACTABLE": True,
    "CKA_LOCAL": True,
}
_ATTRIBUTE: Final[dict[str, Attribute]] = {name: Attribute[name[4:]] for name in REQUIRED_ATTRIBUTES}

IDENTITY: Final = (
    Attribute.KEY_TYPE,
    Attribute.LABEL,
    Attribute.ID,
    Attribute.MODULUS,
    Attribute.PUBLIC_EXPONENT,
    Attribute.EC_PARAMS,
    Attribute.EC_POINT,
)
"""Attributes that tell keys apart; read in one call, from private and from public objects."""


class SigningKey(Protocol):
    """Private key of python-pkcs11 that can sign."""

    def sign(
        self,
        data: bytes,
        /,
        *,
        mechanism: Mechanism,
        mechanism_param: PssParameter | None,
        buffer_size: int,
    ) -> bytes:
        """Raw signature over ``data``."""


class KeyMissing(TokenUnavailable):
    """The token does not have the key: it was removed, the login was lost, or it is the wrong token."""


class KeyRefused(KeyDisabled):
    """The key in the token may not sign."""


def find_key(session: pkcs11.Session, public_key: PublicKey) -> SigningKey:
    """``find_private_key``, as a key that can sign."""
    key = find_private_key(session, public_key)
    if not isinstance(key, SignMixin):  # python-pkcs11 goes by CKA_SIGN
        raise KeyRefused("the key may not be used: CKA_SIGN is not true")
    return key


def object_handle(key: SigningKey) -> int:
    """CK_OBJECT_HANDLE of a key that ``find_key`` found."""
    assert isinstance(key, pkcs11.PrivateKey)
    assert key.handle is not None
    return key.handle


def session_handle(session: pkcs11.Session) -> int:
    """CK_SESSION_HANDLE of a session."""
    handle: int = session.handle  # type: ignore[attr-defined]  # python-pkcs11 has it and does not declare it
    return handle


def find_private_key(session: pkcs11.Session, public_key: PublicKey) -> pkcs11.PrivateKey:
    """The private key that belongs to ``public_key``; exactly one, with the required attributes.

    Raises ``KeyMissing`` (an infrastructure fault, retryable) if there is none, ``KeyRefused`` if there are
    several or it fails a required attribute, ``HsmFailure``. That the private key really belongs to the
    public one is shown by verifying each signature. A few round trips to the token where its search understands the
    public key, else some for each key of the token.
    """
    with translated():
        found = read_settled(lambda: _search(session, public_key))
    if not found:
        raise KeyMissing("the key was found 0 times in the token")
    if len(found) > 1:
        raise KeyRefused(f"the key was found {len(found)} times in the token, exactly one must match")
    key = found[0]
    require_attributes(key)
    require_use_by_digest(key, KEY_KINDS[public_key.kind].family)
    return key


def require_attributes(key: pkcs11.PrivateKey) -> dict[str, bool]:
    """Check the required attributes and return them; raises ``KeyRefused`` that names the wrong ones."""
    shown = read_attributes(key)
    failed = [
        f"{name} is not {'true' if wanted else 'false'}"
        for name, wanted in REQUIRED_ATTRIBUTES.items()
        if shown.get(name) is not wanted
    ]
    if failed:
        raise KeyRefused(f"the key may not be used: {', '.join(failed)}")
    return shown


def require_use_by_digest(key: pkcs11.PrivateKey, family: KeyFamily) -> None:
    """Check that the key signs digests without a person; raises ``KeyRefused``. A token that shows neither attribute passes."""
    with translated():
        shown = read_optional_attributes(key, Attribute.ALWAYS_AUTHENTICATE, Attribute.ALLOWED_MECHANISMS)
    if shown.get(Attribute.ALWAYS_AUTHENTICATE):
        raise KeyRefused(
            "the key may not be used: CKA_ALWAYS_AUTHENTICATE is true, so the token wants the PIN again for each"
            " signature, which is not supported; create a key without this attribute"
        )
    allowed = shown.get(Attribute.ALLOWED_MECHANISMS)
    wanted = raw_mechanisms(family)
    if allowed and not any(mechanism.value in allowed for mechanism in wanted):
        names = " or ".join(f"CKM_{mechanism.name}" for mechanism in wanted)
        raise KeyRefused(
            f"the key may not be used: CKA_ALLOWED_MECHANISMS does not have {names}, which signs a digest; the hash is"
            " made by the client, so mechanisms that hash are of no use"
        )


def read_attributes(key: pkcs11.PrivateKey) -> dict[str, bool]:
    """Read the required attributes that the token shows."""
    with translated():
        values = attributes_of(key, *_ATTRIBUTE.values())
    return {name: bool(values[a]) for name, a in _ATTRIBUTE.items() if a in values}


def read_optional_attributes(item: pkcs11.Object, *wanted: Attribute) -> dict[Attribute, Any]:
    """Read attributes that a module need not know; a module that fails for them does not show them."""
    shown: dict[Attribute, Any] = {}
    for name in wanted:
        try:
            value = item[name]
        except NOT_SHOWN:
            continue
        if value is not None:
            shown[name] = value
    return shown


def is_public_key(shown: dict[Attribute, Any], public_key: PublicKey) -> bool | None:
    """Whether these attributes are of this key; None where they do not tell. Numbers are compared, not their bytes."""
    if shown.get(Attribute.KEY_TYPE, key_type(public_key.kind)) is not key_type(public_key.kind):
        return False
    if KEY_KINDS[public_key.kind].family is KeyFamily.RSA:
        return _is_rsa_key(shown, public_key)
    params = shown.get(Attribute.EC_PARAMS)
    curve = curve_for_params(params) if params else None
    if params and (curve is None or curve.kind is not public_key.kind):
        return False
    if curve is None or not shown.get(Attribute.EC_POINT):
        return None
    return bare_point(curve, shown[Attribute.EC_POINT]) == curve_point(public_key.spki)


def _is_rsa_key(shown: dict[Attribute, Any], public_key: PublicKey) -> bool | None:
    modulus, exponent = rsa_numbers(public_key.spki)
    if not shown.get(Attribute.MODULUS):
        return None
    exponent_shown = shown.get(Attribute.PUBLIC_EXPONENT)
    return same_number(shown[Attribute.MODULUS], modulus) and (
        not exponent_shown or same_number(exponent_shown, exponent)
    )


def _search(session: pkcs11.Session, public_key: PublicKey) -> list[pkcs11.PrivateKey]:
    """First by a template with the public key, which costs few calls in a token with many keys, then among all keys."""
    found = _search_by_template(session, public_key)
    return found or _matching(all_private_keys(session), all_public_keys(session), public_key)


def _search_by_template(session: pkcs11.Session, public_key: PublicKey) -> list[pkcs11.PrivateKey]:
    type_ = key_type(public_key.kind)
    if type_ is KeyType.RSA:
        modulus, _ = rsa_numbers(public_key.spki)
        keys = private_keys(session, {Attribute.KEY_TYPE: type_, Attribute.MODULUS: modulus})
        return [key for key in keys if is_public_key(attributes_of(key, *IDENTITY), public_key)]
    point = curve_point(public_key.spki)
    publics = {
        item.handle: item
        for encoded in (octets(point), point)
        for item in public_keys(session, {Attribute.KEY_TYPE: type_, Attribute.EC_POINT: encoded})
    }
    ids = _names(publics.values(), public_key, Attribute.ID)
    keys = [
        key
        for key_id in ids
        for key in private_keys(session, {Attribute.KEY_TYPE: type_, Attribute.ID: key_id})
    ]
    return _matching_named(keys, public_key, ids, labels=())


def _matching(
    keys: Iterable[pkcs11.PrivateKey], publics: Collection[pkcs11.Object], public_key: PublicKey
) -> list[pkcs11.PrivateKey]:
    ids = _names(publics, public_key, Attribute.ID)
    labels = _names(publics, public_key, Attribute.LABEL)
    return _matching_named(keys, public_key, ids, labels)


def _matching_named(
    keys: Iterable[pkcs11.PrivateKey], public_key: PublicKey, ids: Collection[Any], labels: Collection[Any]
) -> list[pkcs11.PrivateKey]:
    """Private keys that match this key by their own attributes, or by the CKA_ID of its public object, or, without one, its label."""
    found: dict[int | None, pkcs11.PrivateKey] = {}
    for key in keys:
        shown = attributes_of(key, *IDENTITY)
        same = is_public_key(shown, public_key)
        if same is None:
            key_id, label = shown.get(Attribute.ID), shown.get(Attribute.LABEL)
            same = key_id in ids if key_id else bool(label) and label in labels
        if same:
            found[key.handle] = key
    return list(found.values())


def _names(publics: Iterable[pkcs11.Object], public_key: PublicKey, name: Attribute) -> set[Any]:
    """CKA_ID or CKA_LABEL of the public objects that are this key."""
    shown = (attributes_of(item, *IDENTITY) for item in publics)
    return {each[name] for each in shown if each.get(name) and is_public_key(each, public_key)}
