"""Identities of the tokens that lanes found, so that no token serves two owners under two names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from workers.config.loading import Configuration


@dataclass(frozen=True, slots=True)
class TokenUse:
    """A token's table in the service's file, and its tenant; None is the service itself."""

    table: str
    tenant: str | None

    def __str__(self) -> str:
        return f"tokens.{self.table} of {self.tenant or 'the service'}"


class TokenIdentities:
    """First owner of each token that a lane of this worker logged in to; kept also while it has no lane."""

    def __init__(self) -> None:
        self._uses: dict[str, tuple[TokenUse, ...]] = {}

    def claim(self, identity: str, use: TokenUse) -> TokenUse | None:
        """Add the use of a token; the earlier use where that is of another owner, and then nothing is added."""
        uses = self._uses.get(identity, ())
        if uses and uses[0].tenant != use.tenant:
            return uses[0]
        if use not in uses:
            self._uses[identity] = (*uses, use)  # two tables of one tenant may find the same token
        return None

    def keep_only(self, uses: Collection[TokenUse]) -> None:
        """Forget what is not among ``uses``: the configuration gives it to nobody, or to somebody else."""
        kept = {
            identity: tuple(use for use in owned if use in uses) for identity, owned in self._uses.items()
        }
        self._uses = {identity: owned for identity, owned in kept.items() if owned}


def unchanged_uses(old: Configuration, new: Configuration) -> set[TokenUse]:
    """Tokens whose table and owner are as before."""
    uses = {TokenUse(token, tenant.name) for tenant in new.tenants.values() for token in tenant.tokens}
    uses.add(TokenUse(new.service.service_key.token, None))
    before = old.service.tokens
    return {use for use in uses if before.get(use.table) == new.service.tokens[use.table]}
