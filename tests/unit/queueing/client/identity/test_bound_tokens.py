"""Tokens that name the ephemeral key: asked for where the platform lets the caller choose the audience, and nowhere else."""

from __future__ import annotations

import pytest

from queueing.client.identity.settings import IdentitySettings
from queueing.client.identity.token_sources import GithubToken, source_of
from queueing.errors import ConfigError
from queueing.protocol.grants.grant_request import KEY_MARK, audience_for

KEY = bytes(range(32))


@pytest.mark.parametrize("bound", [False, True])
def test_github_is_asked_for_a_token_that_names_the_key(bound: bool) -> None:
    """The audience of the settings alone, or with the SHA-256 of the key behind it."""
    settings = IdentitySettings(platform="github", audience="https://sign.example", bound=bound)
    source = source_of(settings, {}, public_key=KEY)
    assert isinstance(source, GithubToken)
    assert source._audience == (
        audience_for("https://sign.example", KEY) if bound else "https://sign.example"
    )


def test_two_keys_have_two_audiences() -> None:
    """43 characters of base64url behind the mark."""
    one, other = audience_for("a", KEY), audience_for("a", bytes(32))
    assert one != other
    assert len(one) == len("a") + len(KEY_MARK) + 43


def test_a_platform_with_a_fixed_audience_cannot_bind() -> None:
    """GitLab's tokens have the audience of the pipeline's file."""
    settings = IdentitySettings(platform="gitlab", variable="TOKEN", bound=True)
    with pytest.raises(ConfigError, match="is not possible for gitlab"):
        settings.checked("client.toml")
