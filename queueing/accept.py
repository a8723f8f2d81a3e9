"""When a write counts: as soon as Redis said OK, or when replicas have it too (ADR 0018)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class AcceptLevel(StrEnum):
    """What has to be true of a write before anybody builds on it.

    ``local``: the primary said OK; a failover may forget it. ``replicated``: so many replicas have it as well.
    """

    LOCAL = "local"
    REPLICATED = "replicated"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaWait:
    """One ``WAIT``: for how many replicas, and for how long at most."""

    replicas: int
    timeout_s: float

    def words(self) -> tuple[str, int, int]:
        """The command. It waits for all that this server had written when the connection's last command ended."""
        return "WAIT", self.replicas, max(round(self.timeout_s * 1000), 1)  # 0 would wait for ever
