"""A history sorted by job, as the checks want it. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from tests.faults.history import (
    Answered,
    Claimed,
    Commit,
    Event,
    Exported,
    ExportProblem,
    ExportRead,
    Extended,
    Fault,
    GaveBack,
    HsmSign,
    Invoked,
    LaneEnded,
    Left,
    Limits,
    LogRecord,
    Submitted,
    TenantKey,
    WorkerEnded,
    of_type,
)

TAIL_BYTES = 8  # of the input, in the module's log


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that the history breaks: the invariant and the rule's name, and by what."""

    rule: str
    why: str


@dataclass(slots=True)
class JobFile:
    """All that was seen of one job."""

    job: str
    invoked: list[Invoked] = field(default_factory=list)
    submitted: list[Submitted] = field(default_factory=list)
    answered: list[Answered] = field(default_factory=list)
    claimed: list[Claimed] = field(default_factory=list)
    extended: list[Extended] = field(default_factory=list)
    gave_back: list[GaveBack] = field(default_factory=list)
    commits: list[Commit] = field(default_factory=list)
    records: list[LogRecord] = field(default_factory=list)
    exported: list[Exported] = field(default_factory=list)

    @property
    def tenant(self) -> str:
        return self.invoked[0].tenant if self.invoked else ""

    @property
    def digests(self) -> tuple[bytes, ...]:
        """Digests of the job, from its first submit: another content is a conflict."""
        return self.invoked[0].digests if self.invoked else ()

    @property
    def accepted(self) -> bool:
        """Whether a client was told so."""
        return any(event.how == "ok" for event in self.submitted)

    @property
    def final(self) -> list[Answered]:
        """The answers that say how the job ended, in order."""
        return [answer for answer in self.answered if answer.how != "info"]

    def recorded(self, what: str) -> list[LogRecord]:
        """The log's records of one kind."""
        return [record for record in self.records if record.what == what]


_LISTS = {
    Invoked: "invoked",
    Submitted: "submitted",
    Answered: "answered",
    Claimed: "claimed",
    Extended: "extended",
    GaveBack: "gave_back",
    Commit: "commits",
    LogRecord: "records",
    Exported: "exported",
}


class Ledger:
    """The history, by job and by kind of event, each in the order of time."""

    def __init__(self, events: Sequence[Event]) -> None:
        self.events = sorted(events, key=lambda event: event.at)
        self.jobs: dict[str, JobFile] = {}
        for event in self.events:
            name = _LISTS.get(type(event))
            if name is not None:
                job: str = event.job  # type: ignore[union-attr]  # all of _LISTS have one
                getattr(self.jobs.setdefault(job, JobFile(job)), name).append(event)
        self.faults = of_type(self.events, Fault)
        self.limits = of_type(self.events, Limits)
        self.signs = of_type(self.events, HsmSign)
        self.lanes_ended = of_type(self.events, LaneEnded)
        self.workers_ended = of_type(self.events, WorkerEnded)
        self.exports_read = of_type(self.events, ExportRead)
        self.export_problems = of_type(self.events, ExportProblem)
        self.left = of_type(self.events, Left)
        self.keys = {event.tenant: event for event in of_type(self.events, TenantKey)}

    @cached_property
    def tenant_of_token(self) -> dict[str, str]:
        return {key.token: key.tenant for key in self.keys.values()}

    @cached_property
    def signs_of(self) -> dict[tuple[str, bytes], list[HsmSign]]:
        """Every C_Sign by tenant and the end of its input: with SHA-256, one digest (64 bits of it)."""
        found: defaultdict[tuple[str, bytes], list[HsmSign]] = defaultdict(list)
        for sign in self.signs:
            found[self.tenant_of_token.get(sign.token, ""), sign.tail].append(sign)
        return found

    @cached_property
    def breaking(self) -> set[bytes]:
        """Digests at which the module crashes each time."""
        return {digest for fault in self.faults for digest in fault.breaks}

    @cached_property
    def refused(self) -> set[bytes]:
        """Digests that the module refuses for good."""
        return {digest for fault in self.faults for digest in fault.refuses}
