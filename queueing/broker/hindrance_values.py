"""Values of hindrances: why a worker signs nothing for a tenant, as its clients read it. No Redis."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

MOST_NAMED: Final = 16
"""Tokens of one kind that are named."""

_Text = Annotated[str, msgspec.Meta(max_length=256)]
_Names = Annotated[tuple[_Text, ...], msgspec.Meta(max_length=MOST_NAMED)]

_LOG_SHARE_USED: Final = "its records of today have filled its share of that host's disk, until 00:00 UTC or until the operator makes space"


class Hindrance(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of a tenant that a host cannot use; none is left that it can. Only a person ends the first two kinds.

    ``log_share_used``: the tenant's records have filled its share of the disk of that host's log. Names may be empty
    (``without_names``).
    """

    host: _Text
    refused_pins: _Names = ()
    drained: _Names = ()
    failing: _Names = ()
    log_share_used: bool = False

    def without_names(self) -> Hindrance:
        """Hindrance without names of hosts and tokens, for callers who may be strangers: each kind once."""
        return Hindrance(
            host="",
            refused_pins=("",) if self.refused_pins else (),
            drained=("",) if self.drained else (),
            failing=("",) if self.failing else (),
            log_share_used=self.log_share_used,
        )

    def __str__(self) -> str:
        causes = [
            *(f"{_named('token', token)} refused its PIN" for token in self.refused_pins),
            *(f"{_named('token', token)} is drained" for token in self.drained),
            *(f"{_named('token', token)} fails" for token in self.failing),
            *[_LOG_SHARE_USED] * self.log_share_used,
        ]
        remedy = " (the operator has to act)" if self.refused_pins or self.drained else ""
        return f"{_named('host', self.host)} signs nothing for this tenant: {', '.join(causes)}{remedy}"


def _named(kind: str, name: str) -> str:
    return f"{kind} {name}" if name else f"a {kind}"
