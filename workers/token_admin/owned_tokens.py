"""Administration of tokens by their owners: no login to a token that another owner's table selects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workers.config.service_file import SERVICE
from workers.config.tenant_writer import token_owners
from workers.token_admin.client import TokenAdmin, tokens_of_others
from workers.token_admin.login_records import login_of_this_user

if TYPE_CHECKING:
    from workers.config.loading import Configuration, ServiceScope
    from workers.token_admin.messages import RecordedLogin


def admin_of(configuration: Configuration, token: str) -> TokenAdmin:
    """Administration of one token of a valid configuration, for the owner that the configuration gives it."""
    service = configuration.service
    owners = {token: tenant.name for tenant in configuration.tenants.values() for token in tenant.tokens}
    owners[service.service_key.token] = SERVICE
    owner = owners.get(token, "")
    others = tokens_of_others(service.tokens, owners, name=token, owner=owner)
    return TokenAdmin(
        token, service.tokens[token], service.state_dir, owner=owner, others=others, login=_login(owner)
    )


def admin_for(scope: ServiceScope, token: str, *, owner: str) -> TokenAdmin:
    """Administration of one token for this owner, a tenant or the service, by the files that can be read."""
    others = tokens_of_others(scope.tokens, token_owners(scope), name=token, owner=owner)
    return TokenAdmin(
        token, scope.tokens[token], scope.state_dir, owner=owner, others=others, login=_login(owner)
    )


def _login(owner: str) -> RecordedLogin:
    return login_of_this_user("" if owner == SERVICE else owner)
