"""Issuers in a tenant's file: each mistake is named by its place and remedy."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from queueing.errors import ConfigError
from tests.support.fakes.config_files import client_line, tenant_text
from tests.support.fakes.grants import ISSUER, issuer_text
from workers.config.tenant_file import tenant_of
from workers.config.tenants import Tenant

GOOD = tenant_text().replace("[keys.release]", '[keys.release]\nissuers = ["ci"]') + issuer_text()


def load(text: str) -> Tenant:
    return tenant_of(Path("acme.toml"), tomllib.loads(text), {"acme"})


def test_an_issuer_has_a_key_and_caps() -> None:
    """Fifteen minutes and 2,000 digests where the file says no more."""
    issuer = load(GOOD).issuers["ci"]
    assert (issuer.max_grant_ms, issuer.max_digests, issuer.keys, issuer.revoked) == (
        900_000,
        2000,
        None,
        False,
    )
    capped = load(GOOD.replace(issuer_text(), issuer_text(more='max_grant_s = 60\nkeys = ["release"]')))
    assert (capped.issuers["ci"].max_grant_ms, capped.issuers["ci"].keys) == (
        60_000,
        frozenset({"release"}),
    )
    assert "issuers: ci" in str(capped.keys["release"].policy)


def test_a_file_without_issuers_has_none() -> None:
    """As every file of a former version."""
    assert load(tenant_text()).issuers == {}
    assert load(tenant_text()).keys["release"].policy.issuers == frozenset()


@pytest.mark.parametrize(
    "old, new, key, remedy",
    [
        ("[issuers.ci]", "[issuer.ci]", "issuer", "Did you mean `issuers`?"),
        ("[issuers.ci]", "[issuers.Ci]", "issuers.Ci", "1 to 30"),
        ("[issuers.ci]", f"[issuers.{'c' * 31}]", f"issuers.{'c' * 31}", "1 to 30"),
        (ISSUER.line, "bm8ga2V5", "issuers.ci.public_key", "issuer's host"),
        (ISSUER.line, client_line(), "issuers.ci.public_key", "key of its own"),
        ('issuers = ["ci"]', 'issuers = ["di"]', "keys.release.issuers", "[issuers.di]"),
        ('issuers = ["ci"]', 'issuers = "ci"', "keys.release.issuers", "kind"),
        ("[issuers.ci]", '[issuers.ci]\nkeys = ["gone"]', "issuers.ci.keys", "[keys.gone]"),
        ("[issuers.ci]", "[issuers.ci]\nmax_digests = 0", "issuers.ci.max_digests", "range"),
        ("[issuers.ci]", "[issuers.ci]\nmax_grant_s = 86401", "issuers.ci.max_grant_s", "range"),
        ("[issuers.ci]", "[issuers.ci]\nmax_grant = 60", "issuers.ci.max_grant", "Did you mean `max_grant_s`?"),
        ("[issuers.ci]", '[issuers.ci]\nstate = "stopped"', "issuers.ci.state", ""),
    ],
)  # fmt: skip
def test_a_mistake_is_named(old: str, new: str, key: str, remedy: str) -> None:
    """One wrong line gives one error."""
    assert old in GOOD
    with pytest.raises(ConfigError) as caught:
        load(GOOD.replace(old, new, 1))
    assert caught.value.key == key
    assert remedy in caught.value.remedy


def test_two_issuers_share_no_key() -> None:
    """Revoked under one name, it would still grant under the other."""
    with pytest.raises(ConfigError, match=r"same as that of issuers\.ci"):
        load(GOOD + issuer_text("di"))
