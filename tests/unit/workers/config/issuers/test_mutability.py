"""Warnings for identities that match only names, or the tokens of no project in particular."""

from __future__ import annotations

from pathlib import Path

import pytest

from queueing.errors import ConfigError
from tests.support.fakes.config_files import Site, tenant_text
from tests.support.fakes.grants import issuer_text
from workers.config.validation import validate_all


def warnings_of(folder: Path, identity: str) -> list[ConfigError]:
    """Warnings for a tenant whose key has this identity."""
    head = tenant_text().replace("[keys.release]", '[keys.release]\nissuers = ["ci"]')
    text = f"{head}\n[[keys.release.identities]]\n{identity}\n{issuer_text()}"
    return list(validate_all(Site(folder, tenants={"acme": text}).write().config).warnings)


@pytest.mark.parametrize(
    "claims, names",
    [
        ('{ repository = "acme/app" }', "repository"),
        ('{ sub = "repo:acme/app:ref:refs/heads/main" }', "sub"),
        ('{ project_path = "acme/app", ref = "main" }', "project_path"),
        ('{ repository = "acme/app", repository_id = "4711" }', None),
        ('{ repository_owner_id = "42", repository = "acme/app" }', None),
        ('{ sub = "system:serviceaccount:ci:signer" }', None),
    ],
)
def test_names_alone_are_warned_of(tmp_path: Path, claims: str, names: str | None) -> None:
    """Another project may get the name when it is given up; an id is never given again."""
    identity = f'issuer_url = "https://p.example"\naudience = "a"\nclaims = {claims}'
    found = [each for each in warnings_of(tmp_path, identity) if each.key == "keys.release.identities[0]"]
    assert len(found) == (names is not None)
    if names is not None:
        assert f"({names})" in found[0].problem
        assert "_id" in found[0].remedy


@pytest.mark.parametrize(
    "matched, warned",
    [
        ('claims = { ref = "refs/heads/main" }', True),
        ('claims = { environment = "release" }', True),
        ('claims = { job_workflow_ref = "acme/ci/.github/workflows/sign.yml@refs/heads/main" }', True),
        ('patterns = { repository_id = "*1" }', True),
        ('patterns = { sub = "repo:*" }', True),
        ('claims = { repository_id = "4711" }', False),
        ('claims = { repository_owner_id = "42", ref = "refs/heads/main" }', False),
    ],
)
@pytest.mark.parametrize("provider", ["https://token.actions.githubusercontent.com", "https://gitlab.com"])
def test_an_identity_of_no_project_is_warned_of_at_a_public_provider(
    tmp_path: Path, matched: str, warned: bool, provider: str
) -> None:
    """Each account there gets tokens with that branch, that environment and any audience."""
    found = warnings_of(tmp_path, f'issuer_url = "{provider}"\naudience = "a"\n{matched}')
    assert any("names no project" in each.problem for each in found) is warned


def test_a_provider_of_ones_own_may_have_identities_of_no_project(tmp_path: Path) -> None:
    """Its accounts are the operator's own."""
    identity = 'issuer_url = "https://ci.example"\naudience = "a"\nclaims = { ref = "main" }'
    assert not [each for each in warnings_of(tmp_path, identity) if "identities" in each.key]
