"""Identities of tokens: the first owner has the token until the configuration says otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from workers.config.settings import SelectSettings, TokenSettings
from workers.lanes.protocol import Ready
from workers.lanes.supervisor.spawn import LaneSpec
from workers.lanes.supervisor.token_identities import TokenIdentities, TokenUse
from workers.state.token_claims import TokenProperties

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


def spec_of(tenant: str | None, label: str | None = None, serial: str | None = None) -> LaneSpec:
    select = SelectSettings(label=label, serial=serial)
    settings = TokenSettings(module="/module.so", select=select, login="none")
    return LaneSpec(
        file=Path("sigmill.toml"), token=tenant or "service", tenant=tenant, settings=settings, sessions=1
    )


def ready_with(label: str, serial: str = "01") -> Ready:
    return Ready(1, 1, 1, "/module.so", token=TokenProperties("maker", "model", serial, label, 0))


@pytest.mark.parametrize("label, serial", [("globex", None), (None, "02"), ("acme", "02")])
def test_a_lane_with_another_token_than_its_configuration_selects_is_not_used(
    label: str | None, serial: str | None
) -> None:
    """It claims nothing either: the token stays free for its owner."""
    identities = TokenIdentities()
    assert (
        identities.objection_to(ready_with("acme"), spec_of("mallory", label, serial)) == "token.not_selected"
    )
    assert identities.objection_to(ready_with("acme"), spec_of("acme", "acme")) == ""


def test_a_lane_with_the_token_of_another_owner_is_not_used() -> None:
    """The owner may be the service or a tenant; further lanes of the owner are used."""
    identities = TokenIdentities()
    assert identities.objection_to(ready_with("acme"), spec_of(None, "acme")) == ""
    assert identities.objection_to(ready_with("acme"), spec_of("acme", "acme")) == "token.shared"
    assert identities.objection_to(ready_with("acme"), spec_of(None, serial="01")) == ""
    assert identities.objection_to(ready_with("card", "02"), spec_of("globex", "card")) == ""
    assert identities.objection_to(ready_with("card", "02"), spec_of("acme", "card")) == "token.shared"


def test_a_lane_of_an_earlier_version_names_no_token_and_is_used() -> None:
    """During an upgrade lanes of both versions serve."""
    assert TokenIdentities().objection_to(Ready(1, 1, 1, "/module.so"), spec_of("acme", "acme")) == ""
