"""History of a run as its observers saw it, one JSON object per line. Times are Unix seconds of the one host's clock.

Five observers that know nothing of each other: the client (what it was promised and what it got), the worker
(what Redis answered to its claims and commits), the HSM's module (every C_Sign), the write-ahead logs as
they are on the disk at the end, and the verified exports of the record. Beside them the run itself: keys, faults, what was left in Redis.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, TypeVar

import msgspec


class _Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", omit_defaults=True):
    """``at``: when it was over, or seen."""

    at: float


# ---- the run


class TenantKey(_Event, frozen=True, kw_only=True, tag="key"):
    """The public key (SPKI, DER) that this tenant's signatures must verify under, and its token's name."""

    tenant: str
    token: str
    spki: bytes


class Fault(_Event, frozen=True, kw_only=True, tag="fault"):
    """An injection, ``began_at`` to ``at`` (healed). ``bound_s``: what was open at the heal has ended by then.

    ``breaks``: digests at which the module crashes each time; ``refuses``: those that it refuses for good. From
    ``in_full_at`` to ``over_at`` it holds up neither ``tenants_go_on`` nor ``workers_go_on``.
    """

    kind: str
    began_at: float
    bound_s: float
    breaks: tuple[bytes, ...] = ()
    refuses: tuple[bytes, ...] = ()
    in_full_at: float = 0.0
    over_at: float = 0.0
    tenants_go_on: tuple[str, ...] = ()
    workers_go_on: tuple[str, ...] = ()


class Limits(_Event, frozen=True, kw_only=True, tag="limits"):
    """Change of a tenant's limits, written at ``began_at``, in force on every worker from ``at``.

    In units, of which a digest of this tenant costs ``cost``; ``rate_per_s`` 0: no limit.
    """

    tenant: str
    began_at: float
    rate_per_s: float
    burst: float
    cost: float


class PortAbused(_Event, frozen=True, kw_only=True, tag="port abused"):
    """Metrics port of a worker while it was abused: the most connections at a time, and the status of a scrape (0: none)."""

    worker: str
    connections: int
    status: int


class CopiedToken(_Event, frozen=True, kw_only=True, tag="copied token"):
    """A copy of a token was in another tenant's table. ``pin_tried``: a login has changed its files."""

    token: str
    tenant: str
    pin_tried: bool


class Left(_Event, frozen=True, kw_only=True, tag="left"):
    """A leftover at the end of a run: a key in Redis, a process, a descriptor."""

    what: str


# ---- the client


class Invoked(_Event, frozen=True, kw_only=True, tag="invoked"):
    """A client begins to submit a job."""

    client: str
    tenant: str
    job: str
    algorithm: str
    digests: tuple[bytes, ...]


class Submitted(_Event, frozen=True, kw_only=True, tag="submitted"):
    """Result of a submit. ``info``: it may have been accepted, or not."""

    client: str
    tenant: str
    job: str
    how: Literal["ok", "fail", "info"]
    code: str = ""


class Answered(_Event, frozen=True, kw_only=True, tag="answered"):
    """Result that a client (or a reader of Redis) got for a job. ``info``: nothing yet.

    ``signatures[i]`` is empty exactly where ``codes`` has an entry ``i``; ``code`` is the error of the whole job.
    """

    client: str
    tenant: str
    job: str
    how: Literal["ok", "fail", "info"]
    signatures: tuple[bytes, ...] = ()
    codes: dict[int, str] = {}
    code: str = ""


# ---- the worker


class Claimed(_Event, frozen=True, kw_only=True, tag="claimed"):
    """Redis leased the job, from ``from_s`` to ``until_s`` by its own clock."""

    worker: str
    tenant: str
    job: str
    fence: int
    from_s: float
    until_s: float


class Extended(_Event, frozen=True, kw_only=True, tag="extended"):
    """Redis extended the lease to ``until_s`` at least."""

    worker: str
    tenant: str
    job: str
    fence: int
    until_s: float


class GaveBack(_Event, frozen=True, kw_only=True, tag="gave back"):
    """The worker began to return the job at ``began_at``."""

    worker: str
    tenant: str
    job: str
    fence: int
    began_at: float


class Commit(_Event, frozen=True, kw_only=True, tag="commit"):
    """The worker began to commit at ``began_at``, and Redis answered. ``how`` '': the answer was lost."""

    worker: str
    tenant: str
    job: str
    fence: int
    began_at: float
    how: Literal["committed", "repeated", "fenced", ""]
    result: bytes
    """SHA-256 of the published bytes."""


class LaneEnded(_Event, frozen=True, kw_only=True, tag="lane ended"):
    """A lane ended that was not asked to."""

    worker: str
    token: str
    reason: str = ""


class LogLines(_Event, frozen=True, kw_only=True, tag="log lines"):
    """Log of one process of a worker: lines that it made, those of them that are not there, and those that it told as dropped.

    ``complete``: the process has ended in order, and its last line is there.
    """

    worker: str
    made: int
    missing: int
    told: int
    complete: bool


class WorkerEnded(_Event, frozen=True, kw_only=True, tag="worker ended"):
    """``orderly``: by SIGTERM, with exit code 0."""

    worker: str
    orderly: bool


# ---- the HSM's module


class HsmSign(_Event, frozen=True, kw_only=True, tag="C_Sign"):
    """One C_Sign: the end of its input, its return value, the head of the signature (raw) where that is 0."""

    token: str
    pid: int
    tail: bytes
    rv: int
    head: bytes


# ---- the write-ahead logs


class LogRecord(_Event, frozen=True, kw_only=True, tag="record"):
    """A record of a worker's log. ``what``: intent, outcome, released, returned, unknown.

    ``digests`` of an intent; ``signatures`` of an outcome ('' where refused); ``how`` of a release;
    ``maybe_signed`` of a return; of an outcome ``code``, the error of the whole job, ``dead_letter``, by which the service gives the job up, and ``dropped``, the
    number of signatures that were perhaps made and are not in it.
    """

    worker: str
    what: Literal["intent", "outcome", "released", "returned", "unknown"]
    tenant: str
    job: str
    lease: str
    digests: tuple[bytes, ...] = ()
    signatures: tuple[bytes, ...] = ()
    result: bytes = b""
    how: str = ""
    maybe_signed: bool = False
    code: str = ""
    dead_letter: bool = False
    dropped: int = 0


# ---- the exports


class ExportRead(_Event, frozen=True, kw_only=True, tag="export"):
    """The record of a tenant was exported from a worker's state directory and verified, so many entries.

    ``signatures``: in its outcomes, each under an envelope that a client of the tenant signed, which was verified, too.
    """

    worker: str
    tenant: str
    entries: int
    signatures: int = 0


class ExportProblem(_Event, frozen=True, kw_only=True, tag="export problem"):
    """A thing that the verifier says of an export, or the reason why there is none."""

    worker: str
    what: str


class Exported(_Event, frozen=True, kw_only=True, tag="exported"):
    """An outcome in an export: SHA-256 of the signature of each digest, empty where it was not signed."""

    worker: str
    tenant: str
    job: str
    digests: tuple[bytes, ...]
    signatures: tuple[bytes, ...]


Event = (
    TenantKey
    | Fault
    | Limits
    | PortAbused
    | CopiedToken
    | Left
    | Invoked
    | Submitted
    | Answered
    | Claimed
    | Extended
    | GaveBack
    | Commit
    | LaneEnded
    | LogLines
    | WorkerEnded
    | HsmSign
    | LogRecord
    | ExportRead
    | ExportProblem
    | Exported
)

Kind = TypeVar("Kind")

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Event)


def encode(event: Event) -> bytes:
    """One line, with its end."""
    return _encoder.encode(event) + b"\n"


def read_history(file: Path) -> Iterator[Event]:
    """The events of a file; none where it does not exist. A line that its writer did not finish ends the file."""
    if not file.exists():
        return
    with file.open("rb") as lines:
        for line in lines:
            if not line.endswith(b"\n"):
                return
            yield _decoder.decode(line)


def write_history(file: Path, events: Iterable[Event]) -> None:
    """Write the events, replacing the file."""
    with file.open("wb") as out:
        out.writelines(encode(event) for event in events)


class Recorder:
    """Appends events to a file as they happen: a process that is killed leaves all it had seen.

    While the file cannot grow (a fault does that to a worker and all that it writes) they wait in memory.
    ``keep``: they are also in ``events``; not in a process whose memory is measured.
    """

    def __init__(self, file: Path, *, keep: bool = True) -> None:
        self._keep = keep
        self._file = file.open("ab", buffering=0)
        self._unwritten = b""
        self.events: list[Event] = []

    def note(self, *events: Event) -> None:
        """Write the events, in one write."""
        if self._keep:
            self.events += events
        self._unwritten += b"".join(map(encode, events))
        try:
            written = self._file.write(self._unwritten)
        except OSError:
            return
        self._unwritten = self._unwritten[written or 0 :]

    def close(self) -> None:
        """Nothing more is seen."""
        self._file.close()


def of_type(events: Sequence[Event], kind: type[Kind]) -> list[Kind]:
    """The events of one kind, in order."""
    return [event for event in events if isinstance(event, kind)]
