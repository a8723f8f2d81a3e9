"""Concurrent calls become few envelopes.

A call that meets an idle client leaves at the end of the loop's iteration: no latency is added, and what
``gather`` started in the same moment still travels together. While envelopes are under way, calls linger
(about 2 ms), because then there is load worth collecting.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

Key = TypeVar("Key")
Item = TypeVar("Item")


class Scheduled(Protocol):
    """A callback that can be taken back."""

    def cancel(self) -> None:
        """It will not be called."""


class Scheduler(Protocol):
    """The two calls of an event loop that are needed here."""

    def call_soon(self, callback: Callable[..., Any], *args: Any) -> Scheduled:
        """Call at the end of this iteration."""

    def call_later(self, delay: float, callback: Callable[..., Any], *args: Any) -> Scheduled:
        """Call after ``delay`` seconds."""


class Coalescer(Generic[Key, Item]):
    """Collects items per key and flushes them together, at most ``most`` at a time, in order of arrival."""

    def __init__(
        self,
        flush: Callable[[Key, list[Item]], None],
        *,
        scheduler: Scheduler,
        busy: Callable[[], bool],
        linger_s: float,
        most: int,
    ) -> None:
        self._flush = flush
        self._scheduler = scheduler
        self._busy = busy
        self._linger_s = linger_s
        self._most = most
        self._groups: dict[Key, tuple[list[Item], Scheduled]] = {}

    def add(self, key: Key, item: Item) -> None:
        """Take an item; it is flushed within the linger time, or at once when its group is full."""
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = ([], self._schedule(key))
        group[0].append(item)
        if len(group[0]) >= self._most:
            group[1].cancel()
            self._flush_group(key)

    def take_all(self) -> list[Item]:
        """Give back what was not flushed, and flush it no more."""
        groups, self._groups = self._groups, {}
        for _, scheduled in groups.values():
            scheduled.cancel()
        return [item for items, _ in groups.values() for item in items]

    def _schedule(self, key: Key) -> Scheduled:
        if self._busy() and self._linger_s > 0:
            return self._scheduler.call_later(self._linger_s, self._flush_group, key)
        return self._scheduler.call_soon(self._flush_group, key)

    def _flush_group(self, key: Key) -> None:
        group = self._groups.pop(key, None)
        if group is not None:
            self._flush(key, group[0])
