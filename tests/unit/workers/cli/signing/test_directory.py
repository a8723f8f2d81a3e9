"""``sigmill directory`` shows what the verified key directory says, as a table and as lines of JSON."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Self, cast

import pytest

from queueing.client.signing_client import SigningClient
from queueing.errors import KeyUnknown
from queueing.protocol.algorithms import Algorithm
from queueing.protocol.key_directory import KeyEntry, KeyVersionEntry
from tests.support.fakes.config_files import p256_key
from workers.cli.signing.directory import show_directory

CREATED_MS = 1_790_000_000_000
"""2026-09-21."""

FIRST = KeyVersionEntry(version=1, state="retired", public_key=p256_key(1).spki)
SECOND = KeyVersionEntry(
    version=2,
    state="active",
    public_key=p256_key(2).spki,
    certificates=(b"leaf", b"issuer"),
    chains={"other": (b"leaf of another",)},
    created_at_ms=CREATED_MS,
)
"""With the chains of two authorities."""


def entry(*versions: KeyVersionEntry) -> KeyEntry:
    return KeyEntry(
        algorithms=(Algorithm.ECDSA_SHA_256,), default_algorithm=Algorithm.ECDSA_SHA_256, versions=versions
    )


class Directory:
    """A client with these keys."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def keys(self) -> Mapping[str, KeyEntry]:
        """A retired and an active version, and another key."""
        return {"release": entry(FIRST, SECOND), "nightly": entry(FIRST)}


CLIENT = cast("SigningClient", Directory())


async def test_each_version_is_a_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    """With everything that a build or an OpenPGP certificate needs; certificates leaf first, by authority."""
    assert await show_directory(CLIENT, "release", as_json=True) == 0

    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert second == {
        "key": "release",
        "version": 2,
        "state": "active",
        "kind": "P256",
        "algorithms": ["ECDSA_SHA_256"],
        "default_algorithm": "ECDSA_SHA_256",
        "public_key": base64.b64encode(p256_key(2).spki).decode(),
        "public_key_sha256": p256_key(2).sha256.hex(),
        "created": "2026-09-21T14:13:20Z",
        "certificates": [base64.b64encode(each).decode() for each in (b"leaf", b"issuer")],
        "chains": {"other": [base64.b64encode(b"leaf of another").decode()]},
    }
    assert (first["version"], first["state"], first["created"], first["certificates"], first["chains"]) == (
        1, "retired", None, [], {},
    )  # fmt: skip


async def test_the_table_has_a_line_for_each_version_of_each_key(capsys: pytest.CaptureFixture[str]) -> None:
    """Keys by name; the number of certificates is that of all chains."""
    assert await show_directory(CLIENT, None, as_json=False) == 0

    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["KEY", "STATE", "KIND"]
    assert [line.split()[:3] for line in lines] == [
        ["nightly/1", "retired", "P256"],
        ["release/1", "retired", "P256"],
        ["release/2", "active", "P256"],
    ]
    assert lines[2].split()[3:] == ["ECDSA_SHA_256", "2026-09-21", "3", p256_key(2).sha256.hex()[:16]]


async def test_a_key_that_the_tenant_does_not_have_is_named() -> None:
    """With the name that was meant."""
    with pytest.raises(KeyUnknown, match="no key `relase`") as caught:
        await show_directory(CLIENT, "relase", as_json=True)
    assert caught.value.hint == "Did you mean `release`?"
