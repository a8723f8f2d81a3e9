"""Tables of other owners, as the administration of a token is told of them."""

from __future__ import annotations

from workers.config.settings import SelectSettings, TokenSettings
from workers.token_admin.client import tokens_of_others


def table(module: str = "/module.so", **environment: str) -> TokenSettings:
    return TokenSettings(
        module=module, select=SelectSettings(label="card"), login="none", environment=environment
    )


def test_tables_of_other_owners_are_told_and_whether_they_see_the_same_tokens() -> None:
    """Own tables and those without an owner are left out; another environment may show other tokens."""
    tokens = {
        "acme": table(SLOTS="1"),
        "acme-2": table(),
        "free": table(),
        "globex": table(SLOTS="1"),
        "service": table(SLOTS="2"),
    }
    owners = {"acme": "acme", "acme-2": "acme", "globex": "globex", "service": "the service"}
    others = tokens_of_others(tokens, owners, name="acme", owner="acme")
    assert [(o.table, o.owner, o.visible) for o in others] == [
        ("globex", "globex", True),
        ("service", "the service", False),
    ]
    assert all((o.slot, o.label, o.serial) == (None, "card", None) for o in others)
