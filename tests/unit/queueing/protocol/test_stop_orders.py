"""A stop order is believed if an operator of the configuration signed these very bytes for this cluster."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from queueing.protocol import stop_orders
from queueing.protocol.client_keys import ClientKey, ClientKeyKind, ClientPublicKey
from queueing.protocol.envelope import DOMAIN as ENVELOPE_DOMAIN
from queueing.protocol.key_directory import DOMAIN as DIRECTORY_DOMAIN
from queueing.protocol.stop_orders import (
    DOMAIN,
    OrderInvalid,
    StopOrder,
    read_order,
    sign_order,
    verify_order,
)
from tests.support.damage.changed_bytes import prefixes, with_one_bit_flipped

ADA = ClientKey.generate()
TPM = ClientKey.generate(ClientKeyKind.P256)
OPERATORS = {
    "ada": ClientPublicKey.from_spki(ADA.public_spki),
    "tpm": ClientPublicKey.from_spki(TPM.public_spki),
}


def order(**changes: Any) -> StopOrder:
    return StopOrder(
        **{
            "audience": "here",
            "order_id": bytes(range(16)),
            "issued_at_ms": 5,
            "operator": "ada",
            "scope": "key",
            "tenant": "acme",
            "name": "release",
            "reason": "leaked",
            **changes,
        }
    )


BODY = msgspec.msgpack.encode(order(reason=""))


def why(signed: bytes) -> str:
    with pytest.raises(OrderInvalid) as caught:
        verify_order(signed, "here", OPERATORS)
    return str(caught.value)


@pytest.mark.parametrize("operator, key", [("ada", ADA), ("tpm", TPM)], ids=["ed25519", "p256"])
def test_an_operators_order_is_read_as_it_was_signed(operator: str, key: ClientKey) -> None:
    """With either kind of key."""
    meant = order(operator=operator)
    assert verify_order(sign_order(meant, key), "here", OPERATORS) == meant
    assert meant.hex_id == "000102030405060708090a0b0c0d0e0f"


def test_every_bit_of_an_order_counts() -> None:
    """No change of one bit, and no cut, leaves an order that is believed."""
    signed = sign_order(order(), ADA)
    for flipped in with_one_bit_flipped(signed):
        assert why(flipped) in {"malformed", "signature", "operator", "audience"}
    for cut in prefixes(signed):
        assert why(cut) in {"malformed", "signature"}


def test_an_order_that_its_signer_may_not_give_is_refused() -> None:
    """A stranger in an operator's name, an operator who is not listed, an order for another cluster."""
    assert why(sign_order(order(), ClientKey.generate())) == "signature"
    assert why(sign_order(order(operator="tpm"), ADA)) == "signature"
    assert why(sign_order(order(operator="eve"), ADA)) == "operator"
    assert why(sign_order(order(audience="there"), ADA)) == "audience"


@pytest.mark.parametrize(
    "changes",
    [{"scope": "tenant"}, {"name": ""}, {"scope": "world"}, {"order_id": b"short"}, {"version": 2}, {"reason": "x" * 501}],
    ids=lambda changes: next(iter(changes)) + str(next(iter(changes.values())))[:6],
)  # fmt: skip
def test_an_order_that_says_nothing_clear_is_malformed(changes: dict[str, Any]) -> None:
    """A tenant is stopped without a name, a key or client with one; nothing else is there to stop."""
    assert why(sign_order(order(**changes), ADA)) == "malformed"


@pytest.mark.parametrize(
    "domain", [ENVELOPE_DOMAIN, DIRECTORY_DOMAIN, b""], ids=["envelope", "directory", "none"]
)
def test_a_signature_over_something_else_is_none(domain: bytes) -> None:
    """The domain keeps a client's envelopes and an operator's orders apart, were one key used for both."""
    assert why(msgspec.msgpack.encode([BODY, ADA.sign_envelope(domain + BODY)])) == "signature"


def test_an_order_that_is_too_long_is_not_even_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound holds before any byte is decoded; a good order of exactly that size is read."""
    signed = sign_order(order(), ADA)
    monkeypatch.setattr(stop_orders, "MAX_SIGNED_BYTES", len(signed))
    assert read_order(signed, "here") == order()
    monkeypatch.setattr(stop_orders, "MAX_SIGNED_BYTES", len(signed) - 1)
    with pytest.raises(OrderInvalid, match="malformed"):
        read_order(signed, "here")


@pytest.mark.parametrize(
    "body",
    [
        b"\xdc\x00\x09" + BODY[1:],
        BODY[:1] + b"\xcc\x01" + BODY[2:],
        BODY[:1] + b"\xd0\x01" + BODY[2:],
        BODY.replace(b"\xa4here", b"\xd9\x04here"),
        BODY.replace(b"\xc4\x10", b"\xc5\x00\x10"),
        msgspec.msgpack.encode(msgspec.msgpack.decode(BODY)[:8]),
    ],
    ids=["array16", "uint8", "int8", "str8", "bin16", "left out"],
)
def test_a_second_encoding_of_an_order_is_malformed(body: bytes) -> None:
    """Signed by an operator, with the same content: one order has one form, so it has one id and one copy."""
    assert body != BODY
    signed = msgspec.msgpack.encode([body, ADA.sign_envelope(DOMAIN + body)])
    assert why(signed) == "malformed"
    with pytest.raises(OrderInvalid, match="malformed"):
        read_order(signed, "here")
