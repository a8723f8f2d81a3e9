"""Canary: its constant and its keys, neither of which the requester can choose."""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path

import msgspec
import pytest

from queueing.errors import (
    EnvelopeMalformed,
    KeyDisabled,
    KeyExpired,
    KeyUnknown,
    LimitRate,
    PolicyDenied,
    SigningError,
)
from queueing.protocol.algorithms import FACTS, Algorithm
from queueing.protocol.key_directory import directory_digest
from queueing.protocol.stop_orders import StopOrder
from tests.support.fakes.config_files import p256_key, version_lines
from workers.config.service_file import ServiceKey
from workers.config.stop_rules import Stops
from workers.config.tenant_file import tenant_of
from workers.config.tenants import Tenant
from workers.lanes.canary import (
    CANARY,
    LEAST_PAUSE_S,
    CanaryPace,
    canary_digest,
    service_canary,
    tenant_canaries,
    tenant_canary,
)
from workers.lanes.protocol import SignCanary

NOW_MS = 1_900_000_000_000
"""A Friday, 17:46 UTC."""


def key_lines(name: str, *versions: str, more: str = "") -> str:
    head = f'[keys.{name}]\nclients = []\nalgorithms = ["ECDSA_SHA_256"]\n{more}'
    return head + "".join(f"[[keys.{name}.versions]]\n{version}" for version in versions)


def tenant(*blocks: str, head: str = "") -> Tenant:
    text = f'tenant = "acme"\n{head}' + "".join(blocks)
    return tenant_of(Path("acme.toml"), tomllib.loads(text), {"acme", "acme-2"})


def named(what: Tenant, token: str = "acme", stops: Stops | None = None) -> list[str]:  # noqa: S107 - a name
    found = tenant_canaries(what, token, now_ms=NOW_MS, stops=stops or Stops())
    return [f"{each.key_version.key}/{each.key_version.version}" for each in found]


RELEASE = key_lines(
    "release",
    version_lines(p256_key(1), version=1),
    version_lines(p256_key(2), version=2),
    version_lines(p256_key(3), version=3, state="next"),
)


@pytest.mark.parametrize("algorithm", Algorithm)
def test_the_digest_is_the_hash_of_the_constant(algorithm: Algorithm) -> None:
    """The algorithm signs its length; a directory with the same bytes has another digest."""
    digest = canary_digest(algorithm)
    assert len(digest) in FACTS[algorithm].digest_lengths
    assert digest == hashlib.new(FACTS[algorithm].hash_name or "sha512", CANARY).digest()
    assert digest != directory_digest(b"", algorithm)
    assert digest != directory_digest(CANARY, algorithm)


def test_a_request_names_a_key_and_has_no_room_for_a_digest() -> None:
    """An attacker who sends one, or changes one, cannot choose what is signed."""
    fields = {field.name: field.type for field in msgspec.structs.fields(SignCanary)}
    assert fields == {"id": int, "key": str, "version": int}


def test_a_token_has_one_canary_and_one_for_each_key_that_asks() -> None:
    """The first key by name, with its newest version that signs; of a key that asks each version that signs."""
    assert named(tenant(RELEASE)) == ["release/2"]
    other = key_lines("other", version_lines(p256_key(7)))
    assert named(tenant(RELEASE, other)) == ["other/1"]
    asks = RELEASE.replace("[[", "canary = true\n[[", 1)
    assert named(tenant(asks, other)) == ["other/1", "release/2", "release/1"]


def test_a_token_with_no_key_that_signs_now_has_none() -> None:
    """Its key is elsewhere, not active, expired, outside its hours, stopped, or of a suspended tenant."""
    key = version_lines(p256_key(1))
    assert named(tenant(key_lines("release", key)), token="acme-2") == []
    assert named(tenant(key_lines("release", version_lines(p256_key(1), state="retired")))) == []
    assert named(tenant(key_lines("release", key + "expires = 2020-01-01T00:00:00Z\n"))) == []
    night = "windows = [{ from = 01:00:00, until = 02:00:00 }]\n"
    assert named(tenant(key_lines("release", key, more=night))) == []
    assert named(tenant(key_lines("release", key), head='state = "suspended"\n')) == []
    order = StopOrder(
        audience="a",
        order_id=bytes(16),
        issued_at_ms=1,
        operator="ada",
        scope="key",
        tenant="acme",
        name="release",
    )
    what = tenant(key_lines("release", key))
    assert named(what, stops=Stops.of(what, [order])) == []
    assert named(what) == ["release/1"]


@pytest.mark.parametrize(
    "name, number, token, error",
    [
        ("nobody", 0, "acme", KeyUnknown),
        ("release", 9, "acme", KeyUnknown),
        ("release", 3, "acme", KeyDisabled),
        ("lapsed", 1, "acme", KeyExpired),
        ("night", 1, "acme", PolicyDenied),
        ("release", 2, "acme-2", EnvelopeMalformed),
    ],
)
def test_the_lane_refuses_what_may_not_sign_now(
    name: str, number: int, token: str, error: type[SigningError]
) -> None:
    """The lane judges by its own files, whatever the worker requests."""
    what = tenant(
        RELEASE,
        key_lines("lapsed", version_lines(p256_key(8)) + "expires = 2020-01-01T00:00:00Z\n"),
        key_lines(
            "night",
            version_lines(p256_key(9)),
            more="windows = [{ from = 01:00:00, until = 02:00:00 }]\n",
        ),
    )
    with pytest.raises(error):
        tenant_canary(what, token, name, number, now_ms=NOW_MS)


def test_no_client_has_to_be_allowed_for_it() -> None:
    """A key that no client may use has a canary, too."""
    found = tenant_canary(tenant(RELEASE), "acme", "release", 0, now_ms=NOW_MS)
    assert (found.key_version.version, found.digests) == (2, (canary_digest(Algorithm.ECDSA_SHA_256),))


def test_the_services_token_has_its_key() -> None:
    """It belongs to no tenant."""
    found = service_canary(ServiceKey(token="service", public_key=p256_key(99)))
    assert found.key_version.public_key == p256_key(99)
    assert found.digests == (canary_digest(Algorithm.ECDSA_SHA_256),)


def test_a_lane_signs_it_seldom() -> None:
    """Canaries are charged to no tenant, so their rate is limited for each key."""
    pace = CanaryPace()
    pace.check(b"one", 100.0)
    pace.check(b"two", 100.0)
    with pytest.raises(LimitRate) as refused:
        pace.check(b"one", 100.0 + LEAST_PAUSE_S / 2)
    assert refused.value.retry_after_s == pytest.approx(LEAST_PAUSE_S / 2)
    pace.check(b"one", 100.0 + LEAST_PAUSE_S)
