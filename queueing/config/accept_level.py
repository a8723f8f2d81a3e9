"""Acceptance of a write: by the primary alone, or by replicas too (ADR 0018)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

MARK_MS: Final = 60_000
"""Life of the key that is written before a ``WAIT``: nothing is left of a tenant that is gone."""


class AcceptLevel(StrEnum):
    """Condition under which a write counts as accepted.

    ``local``: the primary answered OK; a failover may forget it. ``replicated``: so many replicas have it as well.
    """

    LOCAL = "local"
    REPLICATED = "replicated"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaWait:
    """One ``WAIT``: for how many replicas, and for how long at most.

    ``WAIT`` waits for the last write of its own connection (Redis 7.2 and later, Valkey: call() in server.c); where
    there was none, for nothing, and it answers with the number of replicas that are linked. Redis 7.0 waits for all
    that was written before the connection's last command. A repeat changes nothing, so we write a key of our own.
    """

    replicas: int
    timeout_s: float

    def commands(self, mark: str) -> tuple[tuple[str | int, ...], tuple[str | int, ...]]:
        """Write the key ``mark``, and wait for that write and for all that the server had written before it.

        Both on one connection, after what they confirm. Where the write is refused, the answer to WAIT means nothing.
        """
        timeout_ms = max(round(self.timeout_s * 1000), 1)  # 0 would wait for ever
        return ("SET", mark, "", "PX", MARK_MS), ("WAIT", self.replicas, timeout_ms)
