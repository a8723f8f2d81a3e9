"""Administration of the tokens of a valid configuration, in which each has one owner."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workers.config.service_file import SERVICE
from workers.token_admin.client import TokenAdmin, tokens_of_others

if TYPE_CHECKING:
    from workers.config.loading import Configuration


def admin_of(configuration: Configuration, token: str) -> TokenAdmin:
    """Administration of one token; it logs in to no token that another owner's table selects."""
    service = configuration.service
    owners = {token: tenant.name for tenant in configuration.tenants.values() for token in tenant.tokens}
    owners[service.service_key.token] = SERVICE
    owner = owners.get(token, "")
    others = tokens_of_others(service.tokens, owners, name=token, owner=owner)
    return TokenAdmin(token, service.tokens[token], service.state_dir, owner=owner, others=others)
