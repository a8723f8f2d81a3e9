"""Envelopes under grants, for an auditor: the issuer's key vouches for the grant, the grant's key for the envelope."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from queueing.errors import ProofInvalid
from queueing.protocol.client_keys import ClientPublicKey
from queueing.protocol.envelope import read_unverified
from tests.support.fakes.grants import EPHEMERAL, ISSUER, Seed, sealed_grant, sealed_under
from workers.record.bundle.signers import check_grant, signer_of


def public(seed: Seed) -> ClientPublicKey:
    return ClientPublicKey.from_spki(base64.b64decode(seed.line))


KEYS = {"ci": public(ISSUER), "build-1": public(Seed(1))}


def test_the_holder_of_a_grant_has_signed_its_envelope() -> None:
    """The auditor needs the issuer's key, and none of the build's."""
    unverified = read_unverified(sealed_under())
    key = signer_of(unverified.envelope, KEYS)
    assert key == public(EPHEMERAL)
    key.verify_envelope(unverified.signed_bytes, unverified.signature)
    own = read_unverified(sealed_under(grant=None, client="build-1")).envelope
    assert signer_of(own, KEYS) == KEYS["build-1"]


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"grant_bytes": sealed_grant(Seed(9))}, "is false"),
        ({"grant_bytes": b"rubbish"}, "is false"),
        ({"grant_bytes": sealed_grant(tenant="globex")}, "another tenant"),
        ({"grant_bytes": sealed_grant(audience="prod")}, "another cluster"),
        ({"grant_bytes": sealed_grant(keys=("nightly",))}, "another tenant, client or key"),
        ({"client": "build-1"}, "another tenant, client or key"),
        ({"grant_bytes": sealed_grant(issuer="di")}, "no public key of the issuer di"),
        ({"grant": None}, "no public key of the client ci"),
    ],
    ids=str,
)
def test_a_false_grant_is_found(changes: dict[str, Any], words: str) -> None:
    """The error says what is wrong with it."""
    with pytest.raises(ProofInvalid, match=words):
        signer_of(read_unverified(sealed_under(**changes)).envelope, KEYS)


@pytest.mark.parametrize(
    "changes",
    [
        {"grant_bytes": b"rubbish"},
        {"grant_bytes": sealed_grant(tenant="globex")},
        {"grant_bytes": sealed_grant(audience="prod")},
        {"grant_bytes": sealed_grant(keys=("nightly",))},
        {"client": "build-1"},
    ],
    ids=str,
)
def test_a_grant_for_something_else_is_found_without_any_key(changes: dict[str, Any]) -> None:
    """Its subject would be shown for a signature that was not its."""
    check_grant(read_unverified(sealed_under()).envelope)
    check_grant(read_unverified(sealed_under(grant=None)).envelope)
    with pytest.raises(ProofInvalid):
        check_grant(read_unverified(sealed_under(**changes)).envelope)
