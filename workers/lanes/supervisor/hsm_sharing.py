"""One HSM behind several tokens: who may start a lane's chunk, so that no tenant has all of the device. Pure.

The unit is a lane: while it has a chunk it counts with all its sessions. A device with free operations gives them to
whoever wants them, but for one lane that stays free for those who have nothing to do now. When it is full, a token
that has more than its share ends a lane's work at the next chunk, and whoever is furthest behind takes over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class HsmShare:
    """One token's part. ``operations``: the sessions of one of its lanes."""

    __slots__ = ("_budget", "_lanes", "hungry", "operations", "served", "wake", "weight")

    def __init__(
        self, budget: SharedHsm, *, operations: int, weight: Callable[[], float], wake: Callable[[], None]
    ) -> None:
        self._budget = budget
        self._lanes: set[object] = set()
        self.operations = operations
        self.weight = weight
        self.wake = wake
        self.hungry = False
        self.served = 0.0

    @property
    def using(self) -> int:
        """Operations that its busy lanes may have under way."""
        return len(self._lanes) * self._budget.size_of(self)

    @property
    def active(self) -> bool:
        """Whether it has work."""
        return self.hungry or bool(self._lanes)

    def may_send(self, lane: object) -> bool:
        """Whether the lane may take another chunk; if not, ``wake`` is called when that may have changed."""
        if lane not in self._lanes:
            self.hungry = not self._budget.may_begin(self)
            return not self.hungry
        may = self._budget.may_go_on(self)
        self.hungry |= not may  # a lane that goes on says nothing about those that wait
        return may

    def began(self, lane: object) -> None:
        """The lane has a chunk."""
        if not self._lanes:
            self._budget.arrived(self)
        self._lanes.add(lane)

    def ended(self, lane: object) -> None:
        """The lane has none any more; the others are asked whether they want its operations."""
        if lane in self._lanes:
            self._lanes.discard(lane)
            self._budget.freed(self)

    def did(self, busy_s: float) -> None:
        """A lane was busy with a chunk for so long."""
        self.served += busy_s * self.operations / self.weight()

    def content(self) -> None:
        """Nothing waits any more."""
        self.hungry = False

    def leave(self) -> None:
        """The token is used no more."""
        self._lanes.clear()
        self.hungry = False
        self._budget.remove(self)


class SharedHsm:
    """``parallel_operations`` of one device on this host, and the tokens that share them."""

    def __init__(self, parallel_operations: int) -> None:
        self.parallel_operations = parallel_operations
        self._members: list[HsmShare] = []

    def join(self, *, operations: int, weight: Callable[[], float], wake: Callable[[], None]) -> HsmShare:
        """One more token."""
        member = HsmShare(self, operations=operations, weight=weight, wake=wake)
        self._members.append(member)
        return member

    def remove(self, member: HsmShare) -> None:
        """One token less; what it used is free."""
        if member in self._members:
            self._members.remove(member)
            self.freed(member)

    def size_of(self, member: HsmShare) -> int:
        """What one of its lanes counts for: never more than the whole device."""
        return min(member.operations, self.parallel_operations)

    def share(self, member: HsmShare) -> float:
        """Its operations by weight, among those that have work now; at least one lane."""
        weights = sum(each.weight() for each in self._members if each.active or each is member)
        return max(self.parallel_operations * member.weight() / weights, self.size_of(member))

    def may_begin(self, member: HsmShare) -> bool:
        """Whether one more of its lanes may be busy."""
        wanted = self.size_of(member)
        free = self.parallel_operations - sum(each.using for each in self._members)
        if wanted > free:
            return False
        if not member.using:
            return True
        if any(self._is_short(each) for each in self._members if each is not member):
            return member.using + wanted <= self.share(member)
        return wanted + self._kept_free(member) <= free

    def may_go_on(self, member: HsmShare) -> bool:
        """Whether a busy lane may take its next chunk, or another token waits for what is its own."""
        if not any(self._is_short(each) for each in self._members if each is not member):
            return True
        weights = sum(each.weight() for each in self._members if each.active)
        return member.using * weights <= self.parallel_operations * member.weight()

    def arrived(self, member: HsmShare) -> None:
        """It had no work before: it is not behind those that had, for all the time that it was idle."""
        busy = [each.served for each in self._members if each.active and each is not member]
        member.served = max(member.served, min(busy, default=member.served))

    def freed(self, by: HsmShare) -> None:
        """Ask those that wait, furthest behind first; the one that gave way last."""
        waiting = [each for each in self._members if each.hungry]
        for each in sorted(waiting, key=lambda one: (one is by, one.served)):
            each.wake()

    def _is_short(self, member: HsmShare) -> bool:
        """Whether it wants more and has less than its share."""
        return member.hungry and (
            not member.using or member.using + self.size_of(member) <= self.share(member)
        )

    def _kept_free(self, member: HsmShare) -> int:
        """One lane of those that are idle, unless it were most of the device."""
        idle = [self.size_of(each) for each in self._members if not each.active and each is not member]
        smallest = min(idle, default=0)
        return smallest if 2 * smallest <= self.parallel_operations else 0
