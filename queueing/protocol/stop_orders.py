"""Stop orders: what an operator takes away at once, signed by the operator's own key.

Wire form (msgpack)::

    signed   = [body: bin, signature: bin]
    body     = [1, audience, order_id: bin16, issued_at_ms, operator, scope, tenant, name, reason]

The signature is the operator's (Ed25519, or ECDSA P-256 with SHA-256 in DER) over ``DOMAIN + body``. An order
only takes rights away, so a copy of it does no harm; it is lifted by the tenant's file alone, which names its id.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec

from queueing.errors import EnvelopeSignature
from queueing.protocol.names import Name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from queueing.protocol.client_keys import ClientPublicKey
    from queueing.protocol.envelope import EnvelopeSigner

DOMAIN: Final = b"sigmill-stop-v1\x00"
"""Separates these signatures from any others that the same key makes."""

MAX_SIGNED_BYTES: Final = 4096

Scope = Literal["tenant", "key", "client", "version", "issuer", "subject"]
"""``version``: one version of a key, named KEY/VERSION. ``issuer``, ``subject``: of grants. Workers that do not know a scope refuse
its orders, and confirm none."""


class StopOrder(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, kw_only=True):
    """Order that stops a tenant, or one of its keys, versions, clients, issuers or subjects, by ``name``. Times are Unix ms."""

    version: Literal[1] = 1
    audience: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    order_id: Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
    issued_at_ms: Annotated[int, msgspec.Meta(ge=0, le=2**53)]
    operator: Name
    scope: Scope
    tenant: Name
    name: Annotated[str, msgspec.Meta(max_length=512)] = ""
    reason: Annotated[str, msgspec.Meta(max_length=500)] = ""

    @property
    def hex_id(self) -> str:
        """The id as a tenant's ``lifted_orders`` has it."""
        return self.order_id.hex()


class _Signed(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    body: bytes
    signature: Annotated[bytes, msgspec.Meta(max_length=128)]


class OrderInvalid(ValueError):
    """Bytes that are no order for this service; the message is one of a closed set: malformed, audience, operator, signature."""


_signed_decoder = msgspec.msgpack.Decoder(_Signed)
_body_decoder = msgspec.msgpack.Decoder(StopOrder)


def sign_order(order: StopOrder, operator: EnvelopeSigner) -> bytes:
    """The order as it travels."""
    body = msgspec.msgpack.encode(order)
    return msgspec.msgpack.encode(_Signed(body, operator.sign_envelope(DOMAIN + body)))


def read_order(signed: bytes, audience: str) -> StopOrder:
    """Parse an order without verifying it; raises ``OrderInvalid``."""
    return _read(signed, audience)[0]


def verify_order(signed: bytes, audience: str, operators: Mapping[str, ClientPublicKey]) -> StopOrder:
    """The order, if an operator of the configuration signed it for this cluster; else raises ``OrderInvalid``."""
    order, outer = _read(signed, audience)
    operator = operators.get(order.operator)
    if operator is None:
        raise OrderInvalid("operator")
    try:
        operator.verify_envelope(DOMAIN + outer.body, outer.signature)
    except EnvelopeSignature:
        raise OrderInvalid("signature") from None
    return order


def _read(signed: bytes, audience: str) -> tuple[StopOrder, _Signed]:
    if len(signed) > MAX_SIGNED_BYTES:
        raise OrderInvalid("malformed")
    try:
        outer = _signed_decoder.decode(signed)
        order = _body_decoder.decode(outer.body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise OrderInvalid("malformed") from None
    if (order.scope == "tenant") != (order.name == "") or msgspec.msgpack.encode(order) != outer.body:
        raise OrderInvalid("malformed")
    if order.audience != audience:
        raise OrderInvalid("audience")
    return order, outer
