"""Entries of events that are no job: lanes, logins, keys, configurations, stop orders, key directories, refusals, gaps.

No entry holds a digest of a client, a signature, a job id, a PIN or a value of a configuration.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

Hash = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
HashOrNone = Annotated[bytes, msgspec.Meta(max_length=32)]
"""32 bytes, or none."""

Index = Annotated[int, msgspec.Meta(ge=0)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**31)]
Text = Annotated[str, msgspec.Meta(max_length=512)]
_LaneId = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
_Calls = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
_Names = Annotated[tuple[Text, ...], msgspec.Meta(max_length=256)]


class EntryBase(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """Fields of every entry, first in the array."""

    version: Literal[1] = 1
    at_ms: int


class LoginEntry(EntryBase, frozen=True, array_like=True, kw_only=True):
    """A lane or a command logged in to a token of the tenant, or was refused: ``outcome`` is ``accepted``, or the PKCS#11 error.

    ``by``: ``lane``, or ``command of USER`` of the operating system.
    """

    kind: Literal["login"] = "login"
    token: Text
    outcome: Text
    by: Text


class LaneStartedEntry(EntryBase, frozen=True, array_like=True, kw_only=True):
    """A lane is logged in to a token. ``lane``: 16 random bytes; ``module``: description by the PKCS#11 module."""

    kind: Literal["lane-started"] = "lane-started"
    lane: _LaneId
    token: Text
    serial: Text
    model: Text
    module: Text
    sessions: Count
    build: Text


class LaneOperationsEntry(EntryBase, frozen=True, array_like=True, kw_only=True):
    """Calls of C_Sign of a lane since its last entry of this kind: (key, version, calls), failed and repeated ones included."""

    kind: Literal["lane-operations"] = "lane-operations"
    lane: _LaneId
    operations: Annotated[tuple[tuple[Text, Count, _Calls], ...], msgspec.Meta(max_length=256)]


class LaneEndedEntry(EntryBase, frozen=True, array_like=True, kw_only=True):
    """A lane has exited. ``calls``: all its calls of C_Sign that it has reported.

    ``in_doubt``: digests that it never answered, each of which may have been one more call.
    """

    kind: Literal["lane-ended"] = "lane-ended"
    lane: _LaneId
    token: Text
    reason: Text
    calls: _Calls
    in_doubt: _Calls


class RefusedEntry(EntryBase, frozen=True, array_like=True, kw_only=True):
    """A job that a client of the tenant signed was refused before it reached a lane; it has no intent."""

    kind: Literal["refused"] = "refused"
    client: Text
    key: Text
    algorithm: Text
    digests: Count
    code: Text


class UnauthenticatedEntry(EntryBase, frozen=True, array_like=True, kw_only=True):
    """Jobs that no client of the tenant had signed: number by the code of the error, since the last entry of this kind."""

    kind: Literal["unauthenticated"] = "unauthenticated"
    counts: Annotated[dict[Text, _Calls], msgspec.Meta(max_length=64)]


class DirectoryEntry(EntryBase, frozen=True, array_like=True, kw_only=True):
    """The service key signed a key directory of the tenant. ``sha256``: of the signed bytes."""

    kind: Literal["directory"] = "directory"
    token: Text
    public_key_sha256: HashOrNone
    epoch: Index
    expires_at_ms: int
    sha256: Hash


class ConfigurationEntry(EntryBase, frozen=True, array_like=True, kw_only=True):
    """A configuration file is in force. ``scope``: ``tenant`` or ``service``; ``changed``: names of values that differ now."""

    kind: Literal["config"] = "config"
    scope: Literal["tenant", "service"]
    epoch: Index
    sha256: Hash
    changed: _Names


class StopOrderEntry(EntryBase, frozen=True, array_like=True, kw_only=True):
    """A stop order of an operator is applied."""

    kind: Literal["order"] = "order"
    order_id: Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
    operator: Text
    scope: Text
    name: Text
    reason: Text


class KeyEntry(EntryBase, frozen=True, array_like=True, kw_only=True):
    """An operator changed a key or one of its versions (0: the whole key) by a command, or had it sign a certificate request.

    ``by``: user of the operating system.
    """

    kind: Literal["key"] = "key"
    event: Text
    key: Text
    key_version: Count
    public_key_sha256: HashOrNone
    statement_sha256: HashOrNone
    witnesses: _Names
    by: Text
    changed: _Names


class GapEntry(EntryBase, frozen=True, array_like=True, kw_only=True):
    """Bytes of the host's write-ahead log, ``first`` up to ``end`` (exclusive) of a segment, of which no entry could be made.

    ``reason``: ``damaged``, and each log of the host says so, as it cannot be told whose records they were; ``missing``, where segments before
    this one were not there; ``later``, a record of a later version; ``unreadable``,
    bytes that the disk did not give; or ``wrong``: a record of this tenant. ``more``: later damage of the same segment is in no entry.
    ``at_ms``: of the record before, or of the one with which the log begins.
    """

    kind: Literal["gap"] = "gap"
    segment: Index
    first: Index
    end: Index
    reason: Text
    more: bool


class WithoutIntentEntry(EntryBase, frozen=True, array_like=True, kw_only=True):
    """Result of a job, or of a canary, whose intent is in no entry of this log: it was lost, or is older than the log.

    ``what``: ``outcome``, ``canary``; or ``returned-in-doubt``, ``unknown``, where any digest of the job may have been signed, and
    nothing else is known. ``signed``: signatures with this key version; ``dropped``: those that were made, or may have been, and
    were not released.
    """

    kind: Literal["without-intent"] = "without-intent"
    what: Text
    key: Text = ""
    key_version: Count = 0
    public_key_sha256: HashOrNone = b""
    signed: Count = 0
    dropped: Count = 0
    code: Text = ""


EventEntry = (
    LoginEntry
    | LaneStartedEntry
    | LaneOperationsEntry
    | LaneEndedEntry
    | RefusedEntry
    | UnauthenticatedEntry
    | DirectoryEntry
    | ConfigurationEntry
    | StopOrderEntry
    | KeyEntry
    | GapEntry
    | WithoutIntentEntry
)

EVENT_KINDS: Final[dict[str, type[EventEntry]]] = {
    "login": LoginEntry,
    "lane-started": LaneStartedEntry,
    "lane-operations": LaneOperationsEntry,
    "lane-ended": LaneEndedEntry,
    "refused": RefusedEntry,
    "unauthenticated": UnauthenticatedEntry,
    "directory": DirectoryEntry,
    "config": ConfigurationEntry,
    "order": StopOrderEntry,
    "key": KeyEntry,
    "gap": GapEntry,
    "without-intent": WithoutIntentEntry,
}
