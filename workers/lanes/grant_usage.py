"""Digests that were signed under each grant, and their cap. Pure: no clock, no I/O.

A lane counts what it authorises, the worker what its lanes have signed. The same content (key, version, algorithm and digests)
is counted once: a job that is tried again, or sent again, asks for nothing new.

A worker names a content by its ``content_hash``, which the write-ahead log has, too. A lane's count ends with the lane, so a
keyed hash of this process does (SipHash, 64 bits), in a third of the time: two contents of one hash are not found without its key.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from queueing.errors import GrantExhausted, LimitRate
from workers.subject_shares import SubjectShares

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from queueing.protocol.envelope import UnverifiedEnvelope
    from queueing.protocol.grants.grant import Grant
    from workers.subject_shares import Subject

MOST_GRANTS: Final = 65_536
"""Grants of one process that have not expired: some hundred builds a second for a quarter of an hour. Builds may get a grant for each
digest, so each tenant and each subject has a share of them.
"""

MOST_CONTENTS: Final = 262_144
"""Contents that are known; of those that are forgotten a repetition is counted again: a grant permits less then, never more. About 100
bytes each."""

_FORGOTTEN: Final = 8
"""Part of the contents that is forgotten at a time, an eighth: the holders of all are looked at for that, in some ten milliseconds."""

KEPT_MS: Final = 300_000
"""Time for which a count is kept after the end of its grant: more than clocks may differ."""

_FORGET_MS: Final = 60_000
"""Time between two searches for grants that have ended."""

_RETRY_S: Final = 1.0

GrantName = tuple[str, str, bytes]
"""Tenant, issuer and id."""

Content = bytes | int
"""Name of a content: its ``content_hash``, or this process's hash of it."""


@dataclass(slots=True)
class _Used:
    expires_ms: int
    subject: str
    digests: int = 0
    elsewhere: int = 0
    contents: set[Content] = field(default_factory=set)


def name_of(grant: Grant) -> GrantName:
    """Name under which a grant is counted."""
    return grant.tenant, grant.issuer, grant.grant_id


class GrantUsage:
    """Counts of the grants in use. ``elsewhere``: digests of other hosts, as far as they are known."""

    def __init__(self, *, most_grants: int = MOST_GRANTS, most_contents: int = MOST_CONTENTS) -> None:
        self._most_contents = most_contents
        self._used: dict[GrantName, _Used] = {}
        self._shares = SubjectShares(most_grants)
        self._contents = 0
        self._forget_at_ms = 0

    def check(self, grant: Grant, content: Content, digests: int, *, reserved: int = 0) -> bool:
        """Whether ``digests`` of this content are new to the grant, and so have to be counted.

        ``reserved``: digests of jobs under way. Raises ``GrantExhausted`` (final) where the cap does not permit them, and
        ``LimitRate`` (retryable) where it may when those jobs have ended, or where this process counts too many grants, of all
        tenants, of this one or of the grant's subject.
        """
        used = self._known(name_of(grant), grant)
        if content in used.contents:
            return False
        _check_cap(grant, used, digests, reserved)
        return True

    def count(self, grant: Grant, content: Content, digests: int) -> bool:
        """Count a content; False where it was counted before."""
        name = name_of(grant)
        used = self._used.get(name) or self._keep(name, _Used(grant.expires_ms, grant.subject))
        if content in used.contents:
            return False
        self._add(used, content, digests)
        return True

    def charge(self, grant: Grant, unverified: UnverifiedEnvelope, now_ms: int) -> None:
        """Check and count an envelope whole, with its first slice, and forget what has ended; raises as ``check``."""
        name, content = name_of(grant), _content_of(unverified)
        used = self._known(name, grant)
        if content not in used.contents:
            digests = len(unverified.envelope.digests)
            _check_cap(grant, used, digests, 0)
            self._keep(name, used)
            self._add(used, content, digests)
        if now_ms >= self._forget_at_ms:
            self._forget_at_ms = now_ms + _FORGET_MS
            self.forget_expired(now_ms)

    def digests(self, name: GrantName) -> int:
        """Digests that this process has counted."""
        used = self._used.get(name)
        return 0 if used is None else used.digests

    def nears_cap(self, grant: Grant, more: int) -> bool:
        """Whether more than half of the grant is used with ``more`` digests, or this process knows nothing of it."""
        used = self._used.get(name_of(grant))
        return used is None or 2 * (used.digests + used.elsewhere + more) > grant.max_digests

    def set_elsewhere(self, name: GrantName, digests: int, grant: Grant | None = None) -> None:
        """Set the number of digests that other hosts have signed; of a grant that is not known only where ``grant`` gives it."""
        used = self._used.get(name)
        if used is None and grant is not None and self._shares.may_take(_subject(name, grant.subject)):
            used = self._keep(name, _Used(grant.expires_ms, grant.subject))
        if used is not None:
            used.elsewhere = max(digests, 0)

    def forget_expired(self, now_ms: int) -> None:
        """Forget the grants that ended ``KEPT_MS`` ago or earlier. O(grants)."""
        for name, used in list(self._used.items()):
            if used.expires_ms + KEPT_MS <= now_ms:
                self._contents -= len(used.contents)
                del self._used[name]
                self._shares.give_back(_subject(name, used.subject))

    def __iter__(self) -> Iterator[GrantName]:
        return iter(self._used)

    def __len__(self) -> int:
        return len(self._used)

    def _known(self, name: GrantName, grant: Grant) -> _Used:
        """Count of a grant, or a new one that is not kept yet; raises ``LimitRate`` where there are too many."""
        used = self._used.get(name)
        if used is not None:
            return used
        if not self._shares.may_take(_subject(name, grant.subject)):
            raise LimitRate("too many grants are in use on this host", retry_after_s=_RETRY_S)
        return _Used(grant.expires_ms, grant.subject)

    def _keep(self, name: GrantName, used: _Used) -> _Used:
        if name not in self._used:
            self._shares.take(_subject(name, used.subject))
        self._used[name] = used
        return used

    def _add(self, used: _Used, content: Content, digests: int) -> None:
        used.digests += digests
        used.contents.add(content)
        self._contents += 1
        if self._contents > self._most_contents:
            self._forget_contents()

    def _forget_contents(self) -> None:
        """Forget an eighth: of the tenant that has most of them, its subject that has most, of that one's oldest grant, and again.

        So the builds of one, however many jobs they have, do not make another's retries count twice. O(grants log grants).
        """
        tenants: dict[str, dict[tuple[str, str], deque[_Used]]] = {}
        for (tenant, issuer, _), used in self._used.items():
            if used.contents:
                tenants.setdefault(tenant, {}).setdefault((issuer, used.subject), deque()).append(used)
        holders = [_Contents(subjects.values()) for subjects in tenants.values()]
        heapq.heapify(holders)
        kept = self._most_contents - self._most_contents // _FORGOTTEN
        while self._contents > kept:
            self._contents -= holders[0].forget()
            heapq.heapreplace(holders, holders[0])


class _Contents:
    """Contents of one tenant's subjects, each with the grants that have some, oldest first. The first of a heap is that with most."""

    __slots__ = ("_subjects", "size")

    def __init__(self, subjects: Iterable[deque[_Used]]) -> None:
        self._subjects = [
            (-sum(len(used.contents) for used in grants), number, grants)
            for number, grants in enumerate(subjects)
        ]
        heapq.heapify(self._subjects)
        self.size = -sum(size for size, _, _ in self._subjects)

    def __lt__(self, other: _Contents) -> bool:
        return self.size > other.size

    def forget(self) -> int:
        """Forget those of the oldest grant of the subject that has most; how many those were."""
        size, number, grants = self._subjects[0]
        oldest = grants.popleft()
        forgotten = len(oldest.contents)
        oldest.contents = set()
        heapq.heapreplace(self._subjects, (size + forgotten, number, grants))
        self.size -= forgotten
        return forgotten


def _subject(name: GrantName, subject: str) -> Subject:
    tenant, issuer, _ = name
    return tenant, issuer, subject


def _check_cap(grant: Grant, used: _Used, digests: int, reserved: int) -> None:
    total = used.digests + used.elsewhere
    if total + digests > grant.max_digests:
        raise GrantExhausted(
            f"{total} of the grant's {grant.max_digests} digests are signed; this job asks for {digests} more"
        )
    if total + reserved + digests > grant.max_digests:
        raise LimitRate(
            "other jobs under way may use up the grant's digests: it waits for them",
            retry_after_s=_RETRY_S,
        )


def _content_of(unverified: UnverifiedEnvelope) -> int:
    """This process's hash of the content of an envelope with a grant.

    The digests are the end of the body, behind the grant. What is skipped is as long as the grant, and so ends within it: the dates
    before it are shorter, for it repeats audience, tenant, issuer, key and algorithm. What is left of it is the same for each envelope.
    """
    envelope = unverified.envelope
    rest = unverified.body[len(envelope.grant or b"") :]
    return hash((envelope.key, envelope.key_version, envelope.algorithm, rest))
