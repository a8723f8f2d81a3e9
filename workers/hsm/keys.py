"""Key lookup by the pinned public key; a key whose attributes do not show that it never left the HSM is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

import pkcs11
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass, SignMixin
from pkcs11.exceptions import AttributeSensitive, AttributeTypeInvalid, FunctionFailed

from queueing.errors import KeyDisabled, TokenUnavailable
from workers.hsm.encodings import bare_point, curve_for_params, curve_point, octet_string, rsa_numbers
from workers.hsm.faults import translate, translated
from workers.hsm.mechanisms import PssParameter, key_type

if TYPE_CHECKING:
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
_NOT_SHOWN: Final = (AttributeTypeInvalid, AttributeSensitive)


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
    """The private key that belongs to ``public_key``; exactly one, with the required attributes.

    Raises ``KeyMissing`` (an infrastructure fault, retryable) if there is none, ``KeyRefused`` if there are
    several or it fails a required attribute, ``HsmFailure``. That the private key really belongs to the
    public one is shown by verifying each signature. A few round trips to the token.
    """
    with translated():
        found = _search(session, public_key)
    if not found:
        raise KeyMissing("the key was found 0 times in the token")
    if len(found) > 1:
        raise KeyRefused(f"the key was found {len(found)} times in the token, exactly one must match")
    key = found[0]
    require_attributes(key)
    if not isinstance(key, SignMixin):  # python-pkcs11 goes by CKA_SIGN
        raise KeyRefused("the key may not be used: CKA_SIGN is not true")
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


def read_attributes(key: pkcs11.PrivateKey) -> dict[str, bool]:
    """Read the required attributes that the token shows."""
    with translated():
        values = attributes_of(key, *_ATTRIBUTE.values())
    return {name: bool(values[a]) for name, a in _ATTRIBUTE.items() if a in values}


def attributes_of(item: pkcs11.Object, *wanted: Attribute) -> dict[Attribute, Any]:
    """Read the wanted attributes that the token shows; one call, or one for each where it cannot read several.

    Some modules return CKR_FUNCTION_FAILED for several, or for one that they do not have. Where nothing at all is shown
    the token has failed: ``HsmFailure``, since no key is to be refused for that.
    """
    try:
        return item.get_attributes(list(wanted))
    except (*_NOT_SHOWN, FunctionFailed):
        return _one_by_one(item, wanted)


def objects(session: pkcs11.Session, template: dict[Attribute, Any]) -> list[pkcs11.Object]:
    """Find all objects that match; exhausts the search, so that the session is free for another."""
    return list(session.get_objects(template))


def private_keys(session: pkcs11.Session, template: dict[Attribute, Any]) -> list[pkcs11.PrivateKey]:
    """Find all private-key objects that match."""
    found = objects(session, {Attribute.CLASS: ObjectClass.PRIVATE_KEY, **template})
    return [item for item in found if isinstance(item, pkcs11.PrivateKey)]


def _one_by_one(item: pkcs11.Object, wanted: tuple[Attribute, ...]) -> dict[Attribute, Any]:
    shown: dict[Attribute, Any] = {}
    failed: FunctionFailed | None = None
    for name in wanted:
        try:
            shown[name] = item[name]
        except FunctionFailed as error:
            failed = error
        except _NOT_SHOWN:
            continue
    if failed is not None and not shown:
        raise translate(failed) from failed
    return shown


def _search(session: pkcs11.Session, public_key: PublicKey) -> list[pkcs11.PrivateKey]:
    type_ = key_type(public_key.kind)
    if type_ is KeyType.RSA:
        return _search_rsa(session, public_key)
    found: dict[int | None, pkcs11.PrivateKey] = {}
    for key_id in _ids_of_public_objects(session, public_key):
        for key in private_keys(session, {Attribute.KEY_TYPE: type_, Attribute.ID: key_id}):
            found[key.handle] = key
    return list(found.values())


def _search_rsa(session: pkcs11.Session, public_key: PublicKey) -> list[pkcs11.PrivateKey]:
    """RSA private keys carry modulus and exponent (PKCS#11 3.1, 6.1.3): no public object is needed."""
    modulus, exponent = rsa_numbers(public_key.spki)
    template = {
        Attribute.KEY_TYPE: KeyType.RSA,
        Attribute.MODULUS: modulus,
        Attribute.PUBLIC_EXPONENT: exponent,
    }
    return private_keys(session, template)


def _ids_of_public_objects(session: pkcs11.Session, public_key: PublicKey) -> set[bytes]:
    """CKA_ID of the public-key objects with this curve and point; EC private keys do not have the point."""
    point = curve_point(public_key.spki)
    ids: set[bytes] = set()
    for encoded in (octet_string(point), point):
        template = {
            Attribute.CLASS: ObjectClass.PUBLIC_KEY,
            Attribute.KEY_TYPE: key_type(public_key.kind),
            Attribute.EC_POINT: encoded,
        }
        for item in objects(session, template):
            shown = attributes_of(item, Attribute.ID, Attribute.EC_PARAMS, Attribute.EC_POINT)
            curve = curve_for_params(shown.get(Attribute.EC_PARAMS, b""))
            if curve is None or curve.kind is not public_key.kind:
                continue
            if bare_point(curve, shown.get(Attribute.EC_POINT, b"")) == point and shown.get(Attribute.ID):
                ids.add(shown[Attribute.ID])
    return ids
