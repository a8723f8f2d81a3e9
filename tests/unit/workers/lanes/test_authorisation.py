"""Authorisation of an envelope: every refusal, and the order of the checks."""

from __future__ import annotations

import base64
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from queueing.errors import (
    AlgorithmMismatch,
    AlgorithmUnknown,
    ClientExpired,
    ClientRevoked,
    ClientUnknown,
    EnvelopeAudience,
    EnvelopeExpired,
    EnvelopeMalformed,
    EnvelopeSignature,
    JobExpired,
    KeyDisabled,
    KeyExpired,
    KeyUnknown,
    PolicyDenied,
    SigningError,
)
from queueing.protocol.algorithms import Algorithm
from queueing.protocol.client_keys import ClientKey, ClientKeyKind
from queueing.protocol.envelope import Envelope, UnverifiedEnvelope, read_unverified, seal
from tests.support.damage.changed_bytes import prefixes, with_one_bit_flipped
from tests.support.fakes.config_files import p256_key, version_lines
from workers.config.key_policy import KeyPolicy
from workers.config.stop_rules import Stops
from workers.config.tenant_file import tenant_of
from workers.config.tenants import Tenant
from workers.lanes.authorisation import CLOCK_SKEW_MS, authorise

NOW_MS = 1_900_000_000_000
HOUR_MS = 3_600_000
AUDIENCE = "test/here"
STATES = ("next", "verify-only", "retired", "revoked")

CI = ClientKey.generate()
TPM = ClientKey.generate(ClientKeyKind.P256)
STRANGER = ClientKey.generate()


def client_lines(name: str, key: ClientKey, *, expires: str = "2099-01-01", state: str = "active") -> str:
    spki = base64.b64encode(key.public_spki).decode()
    return f'[clients.{name}]\npublic_key = "{spki}"\nexpires = {expires}T00:00:00Z\nstate = "{state}"\n'


def key_lines(name: str, *versions: str) -> str:
    head = f'[keys.{name}]\nclients = ["*"]\nalgorithms = ["ECDSA_SHA_256"]\n'
    return head + "".join(f"[[keys.{name}.versions]]\n{version}" for version in versions)


def tenant(head: str = "") -> Tenant:
    """acme: two good clients, a revoked and an expired one; keys with versions in every state."""
    text = "\n".join(
        [
            f'tenant = "acme"\nmax_envelope_age_s = 86400\n{head}',
            client_lines("ci", CI),
            client_lines("tpm", TPM),
            client_lines("gone", CI, state="revoked"),
            client_lines("old", CI, expires="2020-01-01"),
            key_lines(
                "release",
                version_lines(p256_key(1), version=1, state="verify-only"),
                version_lines(p256_key(2), version=2, state="active"),
                version_lines(p256_key(3), version=3, state="active"),
                version_lines(p256_key(4), version=4, state="next"),
            ),
            *(
                key_lines(state, version_lines(p256_key(10 + i), state=state))
                for i, state in enumerate(STATES)
            ),
            key_lines("lapsed", version_lines(p256_key(20)) + "expires = 2020-01-01T00:00:00Z\n"),
        ]
    )
    return tenant_of(Path("acme.toml"), tomllib.loads(text), {"acme"})


def unverified(signer: ClientKey = CI, /, **changes: Any) -> UnverifiedEnvelope:
    """A good envelope of the client ``ci`` with these fields changed, signed by ``signer``."""
    fields = {
        "audience": AUDIENCE,
        "tenant": "acme",
        "client": "ci",
        "key": "release",
        "key_version": 0,
        "algorithm": "ECDSA_SHA_256",
        "issued_at_ms": NOW_MS,
        "expires_at_ms": NOW_MS + HOUR_MS,
        "idempotency_key": bytes(16),
        "digests": (bytes(32),),
    }
    return read_unverified(seal(Envelope(**{**fields, **changes}), signer))


def refusal(envelope: UnverifiedEnvelope, whom: Tenant | None = None) -> type[SigningError]:
    with pytest.raises(SigningError) as caught:
        authorise(envelope, whom or tenant(), audience=AUDIENCE, now_ms=NOW_MS)
    return type(caught.value)


def test_a_good_envelope_is_authorised_for_the_newest_active_version() -> None:
    """Version 0 asks for the newest active one: neither an older one nor the next."""
    authorised = authorise(unverified(), tenant(), audience=AUDIENCE, now_ms=NOW_MS)
    assert authorised.key_version.version == 3
    assert authorised.algorithm is Algorithm.ECDSA_SHA_256


def test_a_version_may_be_named() -> None:
    """An older version that is active still signs when it is asked for."""
    authorised = authorise(unverified(key_version=2), tenant(), audience=AUDIENCE, now_ms=NOW_MS)
    assert authorised.key_version.public_key == p256_key(2)


def test_a_client_with_a_p256_key_is_as_good() -> None:
    """A TPM signs ECDSA."""
    authorise(unverified(TPM, client="tpm"), tenant(), audience=AUDIENCE, now_ms=NOW_MS)


@pytest.mark.parametrize(
    "changes, error",
    [
        ({"audience": "prod/us"}, EnvelopeAudience),
        ({"tenant": "globex"}, EnvelopeAudience),
        ({"client": "nobody"}, ClientUnknown),
        ({"client": "tpm"}, EnvelopeSignature),
        ({"client": "gone"}, ClientRevoked),
        ({"client": "old"}, ClientExpired),
        ({"issued_at_ms": NOW_MS + CLOCK_SKEW_MS + 1, "expires_at_ms": NOW_MS + HOUR_MS}, EnvelopeExpired),
        ({"expires_at_ms": NOW_MS}, EnvelopeExpired),
        ({"expires_at_ms": NOW_MS - 1}, EnvelopeExpired),
        ({"expires_at_ms": NOW_MS + 24 * HOUR_MS + 1}, EnvelopeExpired),
        ({"issued_at_ms": NOW_MS - HOUR_MS, "expires_at_ms": NOW_MS - CLOCK_SKEW_MS}, JobExpired),
        ({"algorithm": "ECDSA_SHA_1"}, AlgorithmUnknown),
        ({"algorithm": ""}, AlgorithmUnknown),
        ({"algorithm": "ED25519"}, AlgorithmMismatch),
        ({"key": "nosuch"}, KeyUnknown),
        ({"key_version": 9}, KeyUnknown),
        ({"key_version": 1}, KeyDisabled),
        ({"key_version": 4}, KeyDisabled),
        *(({"key": state}, KeyDisabled) for state in STATES),
        *(({"key": state, "key_version": 1}, KeyDisabled) for state in STATES),
        ({"key": "lapsed"}, KeyExpired),
    ],
)
def test_each_thing_that_is_wrong_has_its_code(changes: dict[str, Any], error: type[SigningError]) -> None:
    """An envelope with one wrong field, signed by the key of `ci`, has the error of that field."""
    assert refusal(unverified(**changes)) is error


@pytest.mark.parametrize(
    "changes",
    [
        {"issued_at_ms": NOW_MS + CLOCK_SKEW_MS, "expires_at_ms": NOW_MS + HOUR_MS},
        {"issued_at_ms": NOW_MS - HOUR_MS, "expires_at_ms": NOW_MS - CLOCK_SKEW_MS + 1},
        {"expires_at_ms": NOW_MS + 24 * HOUR_MS},
    ],
    ids=["issued a minute ahead", "expired a minute ago", "valid for a day"],
)
def test_the_clock_may_be_off_by_a_minute(changes: dict[str, int]) -> None:
    """An envelope at exactly one of these limits is authorised."""
    authorise(unverified(**changes), tenant(), audience=AUDIENCE, now_ms=NOW_MS)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"issued_at_ms": NOW_MS + HOUR_MS, "expires_at_ms": NOW_MS + 2 * HOUR_MS}, "60.0 min in the future"),
        ({"issued_at_ms": NOW_MS - 8 * HOUR_MS, "expires_at_ms": NOW_MS - 4 * HOUR_MS}, "4.0 h ago"),
    ],
)
def test_dates_that_are_refused_are_told_by_how_much_and_by_which_clock(
    changes: dict[str, int], words: str
) -> None:
    """The client compares it with its own difference to Redis."""
    with pytest.raises(SigningError, match=f"{words}, by the clock of the worker's host"):
        authorise(unverified(**changes), tenant(), audience=AUDIENCE, now_ms=NOW_MS)


def test_only_an_expired_job_may_be_sent_again() -> None:
    """Dates that never can be right are final."""
    assert JobExpired.retryable
    assert not EnvelopeExpired.retryable


def test_a_tenant_may_allow_less_than_a_day() -> None:
    """Its own bound decides."""
    bounded = replace(tenant(), max_envelope_age_ms=HOUR_MS)
    assert refusal(unverified(expires_at_ms=NOW_MS + HOUR_MS + 1), bounded) is EnvelopeExpired
    authorise(unverified(), bounded, audience=AUDIENCE, now_ms=NOW_MS)


def test_a_clients_key_ends_with_its_last_millisecond() -> None:
    """`expires` is the first millisecond at which nothing is signed for the client."""
    expires_ms = tenant().clients["ci"].expires_at_ms
    dates = {"issued_at_ms": expires_ms - 1000, "expires_at_ms": expires_ms + 1000}
    authorise(unverified(**dates), tenant(), audience=AUDIENCE, now_ms=expires_ms - 1)
    with pytest.raises(ClientExpired):
        authorise(unverified(**dates), tenant(), audience=AUDIENCE, now_ms=expires_ms)


def test_a_key_is_for_the_clients_it_lists() -> None:
    """Another client of the same tenant is denied, and the error names the rule; the one that is listed is not."""
    acme = tenant()
    policy = KeyPolicy(clients=frozenset({"tpm"}))
    acme = replace(acme, keys={**acme.keys, "release": replace(acme.keys["release"], policy=policy)})
    with pytest.raises(PolicyDenied, match="rule `clients`"):
        authorise(unverified(), acme, audience=AUDIENCE, now_ms=NOW_MS)
    authorise(unverified(TPM, client="tpm"), acme, audience=AUDIENCE, now_ms=NOW_MS)


@pytest.mark.parametrize(
    "stops, error",
    [
        (Stops(tenant="9f"), PolicyDenied),
        (Stops(keys={"release": "9f"}), KeyDisabled),
        (Stops(clients={"ci": "9f"}), ClientRevoked),
    ],
    ids=["tenant", "key", "client"],
)
def test_a_stopped_tenant_key_or_client_signs_nothing(stops: Stops, error: type[SigningError]) -> None:
    """The tenant, one of its keys, one of its clients; the error names the order."""
    with pytest.raises(error, match=r"order stops the .* \(9f\)"):
        authorise(unverified(), tenant(), audience=AUDIENCE, now_ms=NOW_MS, stops=stops)


def test_keys_that_a_stop_order_does_not_name_are_still_used() -> None:
    """Another key and another client are not stopped with it."""
    stops = Stops(keys={"next": "9f"}, clients={"tpm": "9f"})
    authorise(unverified(), tenant(), audience=AUDIENCE, now_ms=NOW_MS, stops=stops)


def test_a_suspended_tenant_signs_nothing() -> None:
    """Every envelope is refused, and the error names the suspension."""
    with pytest.raises(PolicyDenied, match="the tenant is suspended"):
        authorise(unverified(), tenant('state = "suspended"'), audience=AUDIENCE, now_ms=NOW_MS)


@pytest.mark.parametrize(
    "changes",
    [
        {"key": "nosuch"},
        {"key": "retired"},
        {"key": "lapsed"},
        {"key_version": 9},
        {"algorithm": "ED25519"},
        {"algorithm": "nonsense"},
        {"expires_at_ms": NOW_MS - HOUR_MS},
        {"issued_at_ms": NOW_MS + HOUR_MS, "expires_at_ms": NOW_MS + 2 * HOUR_MS},
        {"client": "gone"},
        {"client": "old"},
        {},
    ],
)
@pytest.mark.parametrize("head", ["", 'state = "suspended"'])
def test_a_stranger_learns_nothing(changes: dict[str, Any], head: str) -> None:
    """An envelope of another key is a bad signature and nothing more, whatever its content."""
    assert refusal(unverified(STRANGER, **changes), tenant(head)) is EnvelopeSignature


def test_a_client_or_tenant_that_may_not_sign_learns_nothing_of_keys() -> None:
    """They are refused before algorithms and keys are judged; all but expired clients before dates, too."""
    wrong = {"key": "nosuch", "algorithm": "nonsense"}
    expired = {"issued_at_ms": NOW_MS - 2 * HOUR_MS, "expires_at_ms": NOW_MS - HOUR_MS}
    assert refusal(unverified(**wrong, **expired, client="gone")) is ClientRevoked
    assert refusal(unverified(**wrong, client="old")) is ClientExpired
    assert refusal(unverified(**wrong, **expired), tenant('state = "suspended"')) is PolicyDenied


def test_an_expired_envelope_of_an_expired_client_may_be_sent_again() -> None:
    """Both have expired by a clock that is years ahead, and such a clock must not lose the job."""
    expired = {"issued_at_ms": NOW_MS - 2 * HOUR_MS, "expires_at_ms": NOW_MS - HOUR_MS}
    assert refusal(unverified(**expired, client="old")) is JobExpired


@pytest.mark.parametrize("key, client", [(CI, "ci"), (TPM, "tpm")], ids=["ed25519", "p256"])
def test_an_envelope_cut_at_any_byte_is_malformed(key: ClientKey, client: str) -> None:
    """No prefix of an envelope is an envelope."""
    sealed = _sealed(key, client)
    for cut in prefixes(sealed):
        with pytest.raises(EnvelopeMalformed):
            read_unverified(cut)


@pytest.mark.parametrize("key, client", [(CI, "ci"), (TPM, "tpm")], ids=["ed25519", "p256"])
def test_an_envelope_with_any_bit_flipped_is_refused(key: ClientKey, client: str) -> None:
    """It cannot be read, is for another audience or tenant, or its signature does not verify."""
    sealed, whom = _sealed(key, client), tenant()
    authorise(read_unverified(sealed), whom, audience=AUDIENCE, now_ms=NOW_MS)
    for changed in with_one_bit_flipped(sealed):
        with pytest.raises((EnvelopeMalformed, EnvelopeSignature, EnvelopeAudience, ClientUnknown)):
            authorise(read_unverified(changed), whom, audience=AUDIENCE, now_ms=NOW_MS)


def test_more_bytes_behind_an_envelope_are_malformed() -> None:
    """Two byte strings never mean the same envelope."""
    with pytest.raises(EnvelopeMalformed):
        read_unverified(_sealed(CI, "ci") + b"\xc0")


def _sealed(key: ClientKey, client: str) -> bytes:
    envelope = unverified(key, client=client)
    return msgspec.msgpack.encode([envelope.body, envelope.signature])
