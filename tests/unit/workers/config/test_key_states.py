"""A key version changes its state by the clock, and directories have it as active before it signs."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from queueing.errors import KeyDisabled
from queueing.protocol.key_directory import KeyState
from tests.support.fakes.config_files import p256_key, tenant_text, version_lines
from workers.config.tenant_file import tenant_of
from workers.config.tenants import DIRECTORY_LEAD_MS, Tenant

T_MS = 1_796_000_000_000  # 2026-11-30T00:53:20Z
MOMENT = "2026-11-30T00:53:20Z"


def rotating() -> Tenant:
    """Version 1 signs until the moment, version 2 from then on."""
    text = tenant_text() + f"verify_only_from = {MOMENT}\n\n[[keys.release.versions]]\n"
    text += version_lines(p256_key(5), version=2, state="next") + f"active_from = {MOMENT}\n"
    return tenant_of(Path("/nowhere/acme.toml"), tomllib.loads(text), ["acme"])


@pytest.mark.parametrize("at_ms, version", [(T_MS - 1, 1), (T_MS, 2), (T_MS + 86_400_000, 2)])
def test_the_version_that_signs_changes_at_the_moment(at_ms: int, version: int) -> None:
    """Jobs that name no version take the one that is active then; a version by name must be active itself."""
    key = rotating().keys["release"]

    assert key.version_to_sign(0, at_ms).version == version
    if version == 2:
        with pytest.raises(KeyDisabled, match="verify-only"):
            key.version_to_sign(1, at_ms)


def test_a_version_by_name_signs_as_soon_as_directories_have_it_as_active() -> None:
    """Tools that take the newest active version of a directory name it; before, it is refused."""
    key = rotating().keys["release"]

    assert key.version_to_sign(2, T_MS - DIRECTORY_LEAD_MS).version == 2
    with pytest.raises(KeyDisabled, match="next"):
        key.version_to_sign(2, T_MS - DIRECTORY_LEAD_MS - 1)


@pytest.mark.parametrize(
    "issued_ms, states",
    [
        (T_MS - DIRECTORY_LEAD_MS - 1, ["active", "next"]),
        (T_MS - DIRECTORY_LEAD_MS, ["active", "active"]),
        (T_MS, ["verify-only", "active"]),
    ],
)
def test_a_directory_announces_a_version_as_active_a_minute_before(
    issued_ms: int, states: list[KeyState]
) -> None:
    """A client that gets its first signature has, or fetches, a directory that vouches for it."""
    directory = rotating().directory(audience="test", issued_at_ms=issued_ms, expires_at_ms=issued_ms + 1)

    assert [version.state for version in directory.keys["release"].versions] == states


def test_the_next_change_of_a_directory_is_known() -> None:
    """Its publisher renews it then, and not a week later."""
    tenant = rotating()

    assert tenant.next_change_ms(0) == T_MS - DIRECTORY_LEAD_MS
    assert tenant.next_change_ms(T_MS - DIRECTORY_LEAD_MS) == T_MS
    assert tenant.next_change_ms(T_MS) is None
