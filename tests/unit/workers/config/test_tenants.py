"""Key versions: which one signs, and until when."""

from __future__ import annotations

import pytest

from queueing.errors import KeyDisabled, KeyExpired, KeyUnknown, SigningError
from queueing.protocol.algorithms import Algorithm
from queueing.protocol.key_directory import KeyState
from tests.support.fakes.config_files import p256_key
from workers.config.key_policy import KeyPolicy
from workers.config.tenants import KeyVersion, TenantKey

NOW_MS = 1_900_000_000_000


def version(number: int, state: KeyState = "active", expires_at_ms: int | None = None) -> KeyVersion:
    return KeyVersion(
        key="release",
        version=number,
        state=state,
        public_key=p256_key(number),
        tokens=("acme",),
        expires_at_ms=expires_at_ms,
        certificates=(),
    )


def key_of(*versions: KeyVersion) -> TenantKey:
    return TenantKey(
        name="release",
        algorithms=frozenset({Algorithm.ECDSA_SHA_256}),
        default_algorithm=Algorithm.ECDSA_SHA_256,
        profile="code-signing",
        versions=versions,
        policy=KeyPolicy(clients=None),
    )


@pytest.mark.parametrize("asked", [0, 2])
@pytest.mark.parametrize("expires_in_ms, signs", [(None, True), (1, True), (0, False), (-1, False)])
def test_a_version_ends_with_its_last_millisecond(asked: int, expires_in_ms: int | None, signs: bool) -> None:
    """Also where it is the newest active one: an older one does not take its place."""
    expires_at_ms = None if expires_in_ms is None else NOW_MS + expires_in_ms
    key = key_of(version(1), version(2, expires_at_ms=expires_at_ms))
    if signs:
        assert key.version_to_sign(asked, NOW_MS).version == 2
    else:
        with pytest.raises(KeyExpired):
            key.version_to_sign(asked, NOW_MS)


@pytest.mark.parametrize("state", ["next", "verify-only", "retired", "revoked"])
def test_a_version_that_is_not_active_does_not_sign(state: KeyState) -> None:
    """Neither by its number nor as the newest one."""
    key = key_of(version(1), version(2, state))
    with pytest.raises(KeyDisabled, match=f"version 2 of the key is {state}"):
        key.version_to_sign(2, NOW_MS)
    assert key.version_to_sign(0, NOW_MS).version == 1


@pytest.mark.parametrize("asked, error", [(0, KeyDisabled), (7, KeyUnknown)])
def test_what_is_not_there_does_not_sign(asked: int, error: type[SigningError]) -> None:
    """No active version, and no version of that number."""
    with pytest.raises(error):
        key_of(version(1, "retired")).version_to_sign(asked, NOW_MS)
