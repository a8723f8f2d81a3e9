"""One HSM behind several tokens: which token may start the chunk of a lane, so that no tenant takes the whole HSM. Pure.

The unit is a lane: while it has a chunk it counts with all its sessions. An HSM with free operations gives them to any
token that waits, except for one lane's operations that are kept free for tokens without work. When the HSM is full, a
token that has more than its share gives up a lane's operations at the next chunk, and the token that is furthest behind
takes them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from workers.config.service_file import ServiceConfiguration


class HsmUser(Protocol):
    """Token that shares an HSM with others."""

    @property
    def weight(self) -> float:
        """Weight of its share."""

    def pump(self) -> None:
        """Send what waits: operations of the HSM may be free."""


class HsmShare:
    """Share of one token in an HSM. ``operations``: the sessions of one of its lanes."""

    __slots__ = ("_hsm", "_lanes", "operations", "served", "user", "waiting")

    def __init__(self, hsm: SharedHsm, user: HsmUser, *, operations: int) -> None:
        self._hsm = hsm
        self._lanes: set[object] = set()
        self.user = user
        self.operations = operations
        self.waiting = False
        self.served = 0.0

    @property
    def using(self) -> int:
        """Operations that its busy lanes may have under way."""
        return len(self._lanes) * self._hsm.lane_operations(self)

    @property
    def active(self) -> bool:
        """Whether the token has work."""
        return self.waiting or bool(self._lanes)

    def request(self, lane: object) -> bool:
        """Request the operations for one more chunk of the lane; returns whether it may be sent.

        If not, the token waits, and its ``pump`` is called when operations may be free.
        """
        if lane not in self._lanes:
            self.waiting = not self._hsm.may_begin(self)
            return not self.waiting
        granted = self._hsm.may_go_on(self)
        self.waiting |= (
            not granted
        )  # a busy lane that continues says nothing about work that waits for another lane
        return granted

    def acquire(self, lane: object) -> None:
        """Count the lane as busy."""
        if not self._lanes:
            self._hsm.became_busy(self)
        self._lanes.add(lane)

    def release(self, lane: object) -> None:
        """Count the lane as idle, and offer its operations to the tokens that wait."""
        if lane in self._lanes:
            self._lanes.discard(lane)
            self._hsm.offer_free(self)

    def record_usage(self, busy_s: float) -> None:
        """Add the time for which a lane was busy with a chunk."""
        self.served += busy_s * self.operations / self.user.weight

    def idle(self) -> None:
        """Note that no work waits."""
        self.waiting = False

    def leave(self) -> None:
        """Give up the share."""
        self._lanes.clear()
        self.waiting = False
        self._hsm.remove(self)


class SharedHsms:
    """HSMs of this host that several tokens share, by name; made when the first of the tokens is used."""

    def __init__(self) -> None:
        self._hsms: dict[str, SharedHsm] = {}

    def of(self, service: ServiceConfiguration, token: str) -> SharedHsm | None:
        """HSM of a token, with the operations that are configured now; None where the token shares none."""
        name = service.tokens[token].hsm
        if name is None:
            return None
        operations = service.hsms[name].parallel_operations
        hsm = self._hsms.setdefault(name, SharedHsm(operations))
        hsm.parallel_operations = operations
        return hsm


class SharedHsm:
    """``parallel_operations`` of one HSM on this host, and the tokens that share them."""

    def __init__(self, parallel_operations: int) -> None:
        self.parallel_operations = parallel_operations
        self._shares: list[HsmShare] = []

    def join(self, user: HsmUser, *, operations: int) -> HsmShare:
        """Add a token, whose lanes have so many sessions each."""
        share = HsmShare(self, user, operations=operations)
        self._shares.append(share)
        return share

    def remove(self, share: HsmShare) -> None:
        """Remove a token, and offer its operations to those that wait."""
        if share in self._shares:
            self._shares.remove(share)
            self.offer_free(share)

    def lane_operations(self, share: HsmShare) -> int:
        """Operations that one lane of the token counts for: never more than the whole HSM."""
        return min(share.operations, self.parallel_operations)

    def fair_operations(self, share: HsmShare) -> float:
        """Operations due to the token by weight, among those that have work now; at least one lane's."""
        weights = sum(each.user.weight for each in self._shares if each.active or each is share)
        return max(self.parallel_operations * share.user.weight / weights, self.lane_operations(share))

    def may_begin(self, share: HsmShare) -> bool:
        """Whether one more lane of the token may be busy."""
        wanted = self.lane_operations(share)
        free = self.parallel_operations - sum(each.using for each in self._shares)
        if wanted > free:
            return False
        if not share.using:
            return True
        if any(self._is_short(each) for each in self._shares if each is not share):
            return share.using + wanted <= self.fair_operations(share)
        return wanted + self._kept_free(share) <= free

    def may_go_on(self, share: HsmShare) -> bool:
        """Whether a busy lane may take its next chunk; not if another token waits for its due operations."""
        if not any(self._is_short(each) for each in self._shares if each is not share):
            return True
        weights = sum(each.user.weight for each in self._shares if each.active)
        return share.using * weights <= self.parallel_operations * share.user.weight

    def became_busy(self, share: HsmShare) -> None:
        """Give a token that had no work no credit for the time in which it was idle."""
        busy = [each.served for each in self._shares if each.active and each is not share]
        share.served = max(share.served, min(busy, default=share.served))

    def offer_free(self, freed_by: HsmShare) -> None:
        """Wake the tokens that wait, the furthest behind first and the one that freed operations last."""
        waiting = [each for each in self._shares if each.waiting]
        for each in sorted(waiting, key=lambda one: (one is freed_by, one.served)):
            each.user.pump()

    def _is_short(self, share: HsmShare) -> bool:
        """Whether the token waits and has less than is due to it."""
        return share.waiting and (
            not share.using or share.using + self.lane_operations(share) <= self.fair_operations(share)
        )

    def _kept_free(self, share: HsmShare) -> int:
        """Operations of one lane of an idle token, unless that were most of the HSM."""
        idle = [self.lane_operations(each) for each in self._shares if not each.active and each is not share]
        smallest = min(idle, default=0)
        return smallest if 2 * smallest <= self.parallel_operations else 0
