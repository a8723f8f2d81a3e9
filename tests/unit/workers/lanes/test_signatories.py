"""Envelopes under grants: which holders may sign, with what, and until when."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from queueing.errors import (
    ClientRevoked,
    ClientUnknown,
    EnvelopeSignature,
    GrantExpired,
    GrantMalformed,
    GrantRefused,
    JobExpired,
    PolicyDenied,
    SigningError,
)
from queueing.protocol.client_keys import ClientPublicKey
from queueing.protocol.envelope import read_unverified
from tests.support.fakes.config_files import tenant_text
from tests.support.fakes.grants import (
    EPHEMERAL,
    ISSUER,
    MINUTE_MS,
    NOW_MS,
    Seed,
    grant,
    issuer_text,
    sealed_grant,
    sealed_under,
)
from workers.config.stop_rules import Stops
from workers.config.tenant_file import tenant_of
from workers.config.tenants import Tenant
from workers.lanes.authorisation import Authorised, authorise, is_unauthenticated
from workers.lanes.signatories import VerifiedGrants

STRANGER = Seed(103)


def tenant(issuer: str = "", *, key: str = 'issuers = ["ci"]') -> Tenant:
    """acme, whose issuer ``ci`` may grant the key ``release``."""
    text = tenant_text().replace("[keys.release]", f"[keys.release]\n{key}") + issuer_text(more=issuer)
    return tenant_of(Path("acme.toml"), tomllib.loads(text), {"acme"})


ACME = tenant()


def authorised(sealed: bytes, whom: Tenant = ACME, **changes: Any) -> Authorised:
    fields: dict[str, Any] = {"audience": "test", "now_ms": NOW_MS, **changes}
    return authorise(read_unverified(sealed), whom, **fields)


def refusal(sealed: bytes, whom: Tenant = ACME, **changes: Any) -> SigningError:
    with pytest.raises(SigningError) as caught:
        authorised(sealed, whom, **changes)
    return caught.value


def test_the_holder_of_a_grant_signs_with_the_key_that_it_lists() -> None:
    """The tenant's file has no key of the build's: only the issuer's."""
    found = authorised(sealed_under())
    assert found.grant == grant()
    assert found.key_version.key == "release"
    assert found.expires_at_ms == NOW_MS + 5 * MINUTE_MS
    longer = authorised(sealed_under(expires_at_ms=NOW_MS + 60 * MINUTE_MS))
    assert longer.expires_at_ms == grant().expires_ms


@pytest.mark.parametrize(
    "changes, error, words",
    [
        ({"grant_bytes": sealed_grant(STRANGER)}, GrantRefused, "not that of the issuer"),
        ({"grant_bytes": sealed_grant(issuer="other"), "client": grant(issuer="other").client}, GrantRefused, "no issuer `other`"),
        ({"grant_bytes": sealed_grant(audience="prod")}, GrantRefused, "another cluster"),
        ({"grant_bytes": sealed_grant(tenant="globex")}, GrantRefused, "another tenant"),
        ({"grant_bytes": sealed_grant(client_public_key=STRANGER.raw)}, EnvelopeSignature, ""),
        ({"grant_bytes": b""}, GrantMalformed, ""),
        ({"grant_bytes": b"\x92" * 4096}, GrantMalformed, ""),
        ({"client": "build-1"}, GrantRefused, "client"),
        ({"client": "ci"}, GrantRefused, "client"),
        ({"client": f"ci.{bytes(16).hex()}"}, GrantRefused, "client"),
        ({"signer": STRANGER}, EnvelopeSignature, ""),
        ({"signer": ISSUER}, EnvelopeSignature, ""),
        ({"signer": Seed(1)}, EnvelopeSignature, ""),
    ],
)  # fmt: skip
def test_who_is_not_the_holder_learns_nothing(
    changes: dict[str, Any], error: type[SigningError], words: str
) -> None:
    """The key that is asked for does not exist, and the error does not tell."""
    found = refusal(sealed_under(**{"key": "nosuch", **changes}))
    assert type(found) is error
    assert words in found.message
    assert is_unauthenticated(found)


@pytest.mark.parametrize(
    "grant_changes, changes, error, words",
    [
        ({"max_digests": 2001}, {}, PolicyDenied, "rule `max_digests`"),
        ({"expires_ms": NOW_MS + 15 * MINUTE_MS}, {}, PolicyDenied, "rule `max_grant_s`"),
        ({"not_before_ms": NOW_MS + MINUTE_MS + 1}, {}, GrantExpired, "not begun"),
        ({"not_before_ms": NOW_MS - 3 * MINUTE_MS, "expires_ms": NOW_MS - MINUTE_MS}, {}, GrantExpired, "has expired"),
        ({"keys": ("nightly",)}, {}, PolicyDenied, "does not list this key"),
        ({"algorithms": ("ED25519",)}, {}, PolicyDenied, "does not list ECDSA_SHA_256"),
        ({}, {"issued_at_ms": NOW_MS - 9 * MINUTE_MS, "expires_at_ms": NOW_MS - 2 * MINUTE_MS}, JobExpired, "expired"),
    ],
)  # fmt: skip
def test_a_grant_permits_what_it_lists_within_the_issuers_caps(
    grant_changes: dict[str, Any], changes: dict[str, Any], error: type[SigningError], words: str
) -> None:
    """More is refused, although the issuer itself has signed it."""
    found = refusal(sealed_under(sealed_grant(**grant_changes), **changes))
    assert type(found) is error
    assert words in found.message
    assert not is_unauthenticated(found)


def test_clocks_of_issuer_and_lane_may_differ_by_a_minute() -> None:
    """The grant begins at most a minute from now, or ended less than a minute ago."""
    soon = sealed_grant(not_before_ms=NOW_MS + MINUTE_MS)
    assert authorised(sealed_under(soon)).grant
    just_over = sealed_grant(not_before_ms=NOW_MS - 3 * MINUTE_MS, expires_ms=NOW_MS - MINUTE_MS + 1)
    assert authorised(sealed_under(just_over)).grant


@pytest.mark.parametrize(
    "whom, words",
    [
        (tenant('state = "revoked"'), "issuer `ci` is revoked"),
        (tenant("keys = []"), "rule `keys`"),
        (tenant("max_digests = 99"), "rule `max_digests`"),
        (tenant("max_grant_s = 600"), "rule `max_grant_s`"),
        (tenant(key=""), "rule `issuers`"),
        (replace(ACME, suspended=True), "suspended"),
    ],
    ids=["revoked", "keys", "digests", "seconds", "not listed", "suspended"],
)
def test_the_tenants_file_takes_a_grant_back(whom: Tenant, words: str) -> None:
    """A change of the file counts for grants that were given before."""
    found = refusal(sealed_under(), whom)
    assert isinstance(found, PolicyDenied)
    assert words in found.message


def test_an_issuer_expires() -> None:
    """Its grants are refused after the date in the tenant's file."""
    text = tenant_text().replace("[keys.release]", '[keys.release]\nissuers = ["ci"]') + issuer_text()
    text = text.replace(f'{ISSUER.line}"\nexpires = 2099', f'{ISSUER.line}"\nexpires = 2025')
    old = tenant_of(Path("acme.toml"), tomllib.loads(text), {"acme"})
    assert "issuer `ci` has expired" in refusal(sealed_under(), old).message


def test_every_client_is_not_every_issuer() -> None:
    """``clients = ["*"]`` lists no issuer."""
    assert "rule `issuers`" in refusal(sealed_under(), tenant(key="")).message


@pytest.mark.parametrize(
    "stops",
    [
        Stops(issuers={"ci": "order"}),
        Stops(subjects={"repo:acme/app": "order"}),
        Stops(clients={grant().client: "order"}),
    ],
    ids=["issuer", "subject", "grant"],
)
def test_an_operators_order_stops_issuer_subject_or_a_single_grant(stops: Stops) -> None:
    """A grant that was given before is refused; orders against other issuers and subjects do not count."""
    found = refusal(sealed_under(), stops=stops)
    assert isinstance(found, ClientRevoked)
    assert "order" in found.message
    other = Stops(issuers={"di": "order"}, subjects={"repo:acme/ap": "order"})
    assert authorised(sealed_under(), stops=other).grant


def test_a_lane_that_knows_of_no_grants_refuses_the_client() -> None:
    """The rule of a former version: the client is looked up among those of the file, whatever ``grant`` has."""
    envelope = read_unverified(sealed_under()).envelope
    assert envelope.client not in ACME.clients
    no_grant = sealed_under(grant=None)
    assert isinstance(refusal(no_grant), ClientUnknown)


class CountingKey(ClientPublicKey):
    """Public key that counts its verifications."""

    verified = 0

    def verify_envelope(self, message: bytes, signature: bytes) -> None:
        CountingKey.verified += 1
        super().verify_envelope(message, signature)


def counted(whom: Tenant) -> Tenant:
    key = ClientPublicKey.from_spki(whom.issuers["ci"].public_key.spki)
    issuer = replace(whom.issuers["ci"], public_key=CountingKey(key._key))
    return replace(whom, issuers={"ci": issuer})


def test_a_grants_signature_is_verified_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its bytes are remembered for its issuer; after a change of the issuer they are verified again."""
    monkeypatch.setattr(CountingKey, "verified", 0)
    whom, grants = counted(ACME), VerifiedGrants()
    for number in range(5):
        authorised(sealed_under(idempotency_key=bytes([number] * 16)), whom, grants=grants)
    assert CountingKey.verified == 1
    authorised(sealed_under(), counted(ACME), grants=grants)
    assert CountingKey.verified == 2
    revoked = replace(whom, issuers={})
    assert isinstance(refusal(sealed_under(), revoked, grants=grants), GrantRefused)
    other = replace(whom, name="globex")
    assert isinstance(refusal(sealed_under(tenant="globex"), other, grants=grants), GrantRefused)


def test_the_memory_of_grants_is_bounded() -> None:
    """The newest are kept; those whose signature does not verify are not."""
    grants = VerifiedGrants(most=2)
    good = [sealed_grant(grant_id=bytes([number] * 16)) for number in range(4)]
    for number, one in enumerate(good):
        authorised(sealed_under(one, client=f"ci.{bytes([number] * 16).hex()}"), grants=grants)
        refusal(sealed_under(sealed_grant(STRANGER)), grants=grants)
    assert [one in grants for one in good] == [False, False, True, True]
    assert sealed_grant(STRANGER) not in grants


def test_the_ephemeral_key_is_the_grants() -> None:
    """Two grants of one build have their own keys: neither signs under the other."""
    second = Seed(104)
    other = sealed_grant(client_public_key=second.raw)
    assert authorised(sealed_under(other, second)).grant
    assert isinstance(refusal(sealed_under(other, EPHEMERAL)), EnvelopeSignature)
