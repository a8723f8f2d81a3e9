"""Plan and result of the load process: files in JSON, since a result has a point for each second."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from bench.day.curve import Phase
from bench.day.tenants import DayTenant, Tier
from bench.measurement.percentiles import Percentiles
from queueing.protocol.algorithms import KeyKind


class PlannedTenant(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant that asks, and its client's configuration. ``stays``: the client is connected all day, or as long as a build."""

    tenant: DayTenant
    client: str
    stays: bool

    @property
    def name(self) -> str:
        """The tenant's name."""
        return self.tenant.name

    @property
    def builds_per_s(self) -> float:
        """Requests a second, at the mean."""
        return self.tenant.builds_per_s


class LoadPlan(msgspec.Struct, frozen=True, kw_only=True):
    """All that the load process does. ``most_waiting``: digests without an answer beyond which it asks for no more."""

    phases: list[Phase]
    seed: int
    tenants: list[PlannedTenant]
    most_waiting: int


class ClassResult(msgspec.Struct, frozen=True, kw_only=True):
    """Requests that were due in one phase, of one tier and kind of key. ``latency``: of whole requests that were answered, from the moment at which each was due."""

    tier: Tier
    kind: KeyKind
    phase: str
    requests: int
    digests: int
    failed_digests: int
    latency: Percentiles


class Progress(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Digests until a moment: due by the plan, and answered (signed or refused).

    ``asked`` is of the plan, not of the load process: one that is late, since the machine is full, would hide what the service did not do.
    """

    at_s: float
    asked: int
    answered: int

    @property
    def backlog(self) -> int:
        """Digests that wait for their answers."""
        return self.asked - self.answered


class LoadResult(msgspec.Struct, frozen=True, kw_only=True):
    """The whole day as its clients saw it.

    ``dropped``: digests that were not asked for, because too many waited; ``failures``: digests by reason; ``late_ms``: how late the load
    process itself was at worst, by phase.
    """

    classes: list[ClassResult]
    progress: list[Progress]
    failures: dict[str, int]
    dropped: int
    late_ms: dict[str, float]


_Message = TypeVar("_Message", LoadPlan, LoadResult)


def encoded(message: LoadPlan | LoadResult) -> bytes:
    """Content of a file."""
    return msgspec.json.encode(message)


def decoded(raw: bytes, kind: type[_Message]) -> _Message:
    """Message in a file; raises ``msgspec.DecodeError``."""
    return msgspec.json.decode(raw, type=kind)
