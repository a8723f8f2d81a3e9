"""Identities of the tokens that lanes found, so that no token serves two owners under two names."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection

    from workers.config.loading import Configuration
    from workers.lanes.protocol import Ready
    from workers.lanes.supervisor.spawn import LaneSpec

log = logging.getLogger("sigmill.lanes")

TOKEN_SHARED: Final = "token.shared"  # noqa: S105 - no password
TOKEN_NOT_SELECTED: Final = "token.not_selected"  # noqa: S105 - no password
"""Reasons of a lane that the worker ended because of its token; an event has the same name."""


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

    def objection_to(self, ready: Ready, spec: LaneSpec) -> str:
        """``token.not_selected``: another token than the configuration selects; ``token.shared``: another owner's token under
        another name. Empty where the lane may be used: then the token is claimed.

        A host-started lane could report any token. It can claim none that its own selection excludes.
        """
        found, select = ready.token, spec.settings.select
        if found is None:
            return ""  # a lane of an earlier version
        if not found.matches(slot=select.slot, label=select.label, serial=select.serial):
            log.error("token.not_selected", extra={"token": spec.token, "found": str(found)})
            return TOKEN_NOT_SELECTED
        other = self.claim(found.identity(spec.settings.module), TokenUse(spec.token, spec.tenant))
        if other is None:
            return ""
        log.error("token.shared", extra={"token": spec.token, "other": str(other)})
        return TOKEN_SHARED

    def claim(self, identity: str, use: TokenUse) -> TokenUse | None:
        """Add the use of a token; the earlier use where that is of another owner, and then nothing is added."""
        uses = self._uses.get(identity, ())
        if uses and uses[0].tenant != use.tenant:
            return uses[0]
        if use not in uses:
            self._uses[identity] = (*uses, use)  # two tables of one tenant may find the same token
        return None

    def keep_only(self, uses: Collection[TokenUse]) -> None:
        """Forget what is not among ``uses``: the configuration gives it to no owner, or to another."""
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
