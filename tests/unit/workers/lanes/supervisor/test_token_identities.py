"""Identities of tokens: the first owner has the token until the configuration says otherwise."""

from __future__ import annotations

from workers.lanes.supervisor.token_identities import TokenIdentities, TokenUse

ACME, AGAIN, GLOBEX = TokenUse("acme", "acme"), TokenUse("acme-2", "acme"), TokenUse("globex", "globex")
SERVICE = TokenUse("service", None)


def test_a_token_has_one_owner() -> None:
    """A second owner is told whose it is; the same owner may find it again."""
    identities = TokenIdentities()
    assert identities.claim("a", ACME) is None
    assert identities.claim("a", ACME) is None
    assert identities.claim("a", AGAIN) is None
    assert identities.claim("a", GLOBEX) == ACME
    assert identities.claim("a", SERVICE) == ACME
    assert identities.claim("b", SERVICE) is None
    assert str(identities.claim("b", GLOBEX)) == "tokens.service of the service"


def test_a_changed_configuration_frees_the_token() -> None:
    """A table that is gone, or selects another token, owns nothing."""
    identities = TokenIdentities()
    identities.claim("a", ACME)
    identities.keep_only({ACME, GLOBEX})
    assert identities.claim("a", GLOBEX) == ACME
    identities.keep_only({GLOBEX})
    assert identities.claim("a", GLOBEX) is None


def test_a_token_of_two_tables_stays_when_one_of_them_goes() -> None:
    """One tenant may find the same token by two tables; it keeps the token as long as it has one of them."""
    identities = TokenIdentities()
    identities.claim("a", ACME)
    identities.claim("a", AGAIN)
    identities.keep_only({AGAIN, GLOBEX})
    assert identities.claim("a", GLOBEX) == AGAIN
