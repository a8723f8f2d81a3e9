"""Lines of ``sigmill audit verify --json``."""

from __future__ import annotations

import msgspec


class ProblemLine(msgspec.Struct, frozen=True, kw_only=True):
    """A thing that is wrong, and its place: origin, and entry where there is one."""

    code: str
    place: str
    message: str


class KeyLine(msgspec.Struct, frozen=True, kw_only=True):
    """Calls of C_Sign with a key version that lanes have reported in the range, and signatures in it."""

    key: str
    key_version: int
    calls: int
    signatures: int


class ClockLine(msgspec.Struct, frozen=True, kw_only=True):
    """Entry at which the host's clock was set back, from the time of an earlier entry to its own."""

    entry: int
    from_at: str
    to_at: str


class LossLine(msgspec.Struct, frozen=True, kw_only=True):
    """Entry that tells of something that was lost on the host.

    ``code``: ``gap.`` and its reason (``damaged``, ``later``, ``missing``, ``unreadable``, ``wrong``), ``intent.lost`` or ``outcome.lost``.
    """

    entry: int
    code: str
    message: str


class OriginLine(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of one origin: what was verified, and the problems. ``minimum``: entries before it had been removed.

    ``log``: the whole name in the signed checkpoint, with the tenant, empty where it does not hold; ``size`` its entries. ``first`` and
    ``end`` (exclusive): those in the bundle, with their earliest and latest time.

    ``signatures_under_grants``: of ``signatures``. ``unproven_envelopes``: of jobs in doubt, whose intents are before the range.
    ``jobs_without_end``: in work at the time of the last entry, or left out.

    ``clock_set_back``: the first places where an entry is more than ten seconds older than one before it.

    ``losses``: number of entries that tell of something that was lost on the host; ``lost``: the first of them.

    ``unread``: number of files in the folder that are no part of the log and range; ``unread_files``: the first of them. ``rows_with_more``:
    item rows that have more than this version reads. Neither is verified.

    ``lanes_without_end``, ``calls_in_doubt``: why ``keys`` may have fewer calls than were made.
    """

    origin: str
    log: str = ""
    size: int = 0
    first: int = 0
    end: int = 0
    from_at: str | None = None
    to_at: str | None = None
    entries: int
    signatures: int
    client_signatures: int
    signatures_under_grants: int = 0
    unproven_envelopes: int = 0
    jobs_without_end: int = 0
    problems: int
    minimum: int = 0
    clock_set_back: tuple[ClockLine, ...] = ()
    losses: int = 0
    lost: tuple[LossLine, ...] = ()
    keys: tuple[KeyLine, ...] = ()
    lanes_without_end: int = 0
    calls_in_doubt: int = 0
    unread: int = 0
    unread_files: tuple[str, ...] = ()
    rows_with_more: int = 0
