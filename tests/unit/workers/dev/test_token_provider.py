"""Throw-away provider of tokens: the issuer's own code verifies what it makes, and its files are kept fresh."""

from __future__ import annotations

import stat
import time
from typing import TYPE_CHECKING

import pytest

from workers.dev import token_provider
from workers.dev.tenants import PROJECT_CLAIM, PROVIDER, PROVIDER_URL, TOKEN_AUDIENCE
from workers.dev.token_provider import RENEW_S, TokenProvider
from workers.issuer.identity.provider_keys import read_keys
from workers.issuer.identity.signed_token import Provider, TokenVerifier, VerifiedIdentity

if TYPE_CHECKING:
    from pathlib import Path

CI = Provider(name=PROVIDER, issuer_url=PROVIDER_URL, algorithms=frozenset({"ES256"}))


class Clock:
    """The time module, with a monotonic time that a test moves."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s

    def time(self) -> float:
        return time.time()


class ProviderSetup:
    def __init__(self, folder: Path) -> None:
        self.keys_dir = folder
        self.files = {name: folder / f"{name}.token" for name in ("acme", "globex")}
        self.provider = TokenProvider(folder, self.files)

    def verified(self, tenant: str) -> VerifiedIdentity:
        keys = read_keys((self.keys_dir / f"{PROVIDER}.json").read_bytes())
        verifier = TokenVerifier({PROVIDER: CI})
        return verifier.verify(self.files[tenant].read_text(), CI, keys, time.time())


@pytest.fixture
def setup(tmp_path: Path) -> ProviderSetup:
    return ProviderSetup(tmp_path)


def test_an_issuer_verifies_the_tokens(setup: ProviderSetup) -> None:
    """By the file of keys that the provider writes in place of `sigmill issuer refresh`; each tenant has its own project."""
    setup.provider.refresh()
    for tenant in setup.files:
        identity = setup.verified(tenant)
        assert (identity.provider, identity.audience) == (PROVIDER, TOKEN_AUDIENCE)
        assert identity.claims[PROJECT_CLAIM] == tenant


def test_only_the_build_reads_its_token(setup: ProviderSetup) -> None:
    """It is all that a build needs to sign."""
    setup.provider.refresh()
    assert {stat.S_IMODE(file.stat().st_mode) for file in setup.files.values()} == {0o600}


def test_tokens_are_replaced_before_they_end(setup: ProviderSetup, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a minute, however often the caller looks; each token is another one, since one serves a single key."""
    clock = Clock()
    monkeypatch.setattr(token_provider, "time", clock)
    seen = []
    for step_s in (0.0, RENEW_S - 1, 1.0, RENEW_S):
        clock.now_s += step_s
        setup.provider.refresh()
        seen.append(setup.files["acme"].read_text())
    assert seen[0] == seen[1]
    assert len(set(seen)) == 3
