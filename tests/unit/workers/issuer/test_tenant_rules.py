"""Tenants' files as the issuer reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from queueing.errors import ConfigError
from queueing.protocol.client_keys import ClientKey
from tests.support.issuer.provider import TokenProvider
from tests.support.issuer.site import TOKEN_AUDIENCE, IssuerSite
from workers.config.issuers.identities import ClaimRule
from workers.config.values import ErrorList
from workers.issuer.checking import check_files
from workers.issuer.tenant_rules import TenantFiles

if TYPE_CHECKING:
    from pathlib import Path

    from workers.issuer.identity.rules import TenantRules

CI = TokenProvider("https://token.example", TOKEN_AUDIENCE)


@pytest.fixture
def site(tmp_path: Path) -> IssuerSite:
    made = IssuerSite(tmp_path, CI)
    made.write()
    return made


def read(site: IssuerSite) -> TenantRules:
    found = TenantFiles(site.configuration()).read(site.folder / "tenants" / "acme.toml")
    assert found is not None
    return found[0]


def test_keys_that_name_the_issuer_have_their_rules(site: IssuerSite) -> None:
    """Exact texts, patterns, and the largest grant of an identity."""
    site.write_tenant(
        more='patterns = { environment = "release-*" }\nmax_digests = 5\n[keys.other]\nclients = []\nalgorithms = ["ECDSA_SHA_256"]'
    )
    rules = read(site)
    assert set(rules.keys) == {"release"}
    (rule,) = rules.keys["release"].rules
    assert rule.claims == {
        "repository_id": ClaimRule(value="4711"),
        "ref": ClaimRule(value="refs/heads/main"),
        "environment": ClaimRule(value="release-*", pattern=True),
    }
    assert (rule.max_digests, rules.max_digests, rules.max_grant_ms) == (5, 500, 600_000)


def test_an_issuer_may_be_kept_to_some_keys(site: IssuerSite) -> None:
    """A key that its table does not list is as if it did not name it."""
    site.write_tenant(issuer="keys = []")
    assert read(site).keys == {}


@pytest.mark.parametrize("pattern", ["refs/heads/main", "refs/**", "**", ""])
def test_a_text_that_is_no_pattern_is_a_mistake(site: IssuerSite, pattern: str) -> None:
    """Without a star it would be an exact text; two stars in a row and an empty text are mistakes as well."""
    site.write_tenant(more=f'patterns = {{ environment = "{pattern}" }}')
    with pytest.raises(ConfigError, match="patterns"):
        read(site)


def test_a_claim_with_a_text_and_a_pattern_is_a_mistake(site: IssuerSite) -> None:
    """One of them would be ignored."""
    site.write_tenant(more='patterns = { ref = "refs/*" }')
    with pytest.raises(ConfigError, match="among `claims`"):
        read(site)


def test_another_public_key_of_the_issuer_is_a_mistake(site: IssuerSite) -> None:
    """The lanes would refuse its grants; the issuer says so first."""
    site.write_tenant()
    site.spki = ClientKey.generate().public_spki
    site.write_tenant()
    site.spki = site.key.public_spki
    with pytest.raises(ConfigError, match="is not the key of this issuer"):
        read(site)


def test_the_check_warns_of_names_that_can_be_had_again(site: IssuerSite) -> None:
    """A repository's name is not enough, its id is."""
    site.write_tenant(claims='repository = "acme/app"')
    errors = ErrorList()
    (warning,) = check_files(site.configuration(), errors)
    assert not errors.all
    assert "repository_id" in warning.remedy
    site.write_tenant(claims='repository = "acme/app", repository_id = "4711"')
    assert check_files(site.configuration(), errors) == []


def test_the_check_tells_each_wrong_file(site: IssuerSite) -> None:
    """A mistake in one tenant's file hides none in another."""
    site.write_tenant(claims="")
    other = site.folder / "tenants" / "globex.toml"
    other.write_text("tenant = 7\n")
    errors = ErrorList()
    check_files(site.configuration(), errors)
    assert {error.file for error in errors.all} == {str(site.folder / "tenants" / "acme.toml"), str(other)}
