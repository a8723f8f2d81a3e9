"""Coalescing of items that are added one by one: those of one iteration of the event loop, or of a short time, are sent together.

An item that meets an idle sink is sent at the end of the loop's iteration: no latency is added, and items that ``gather``
added in the same iteration still travel together. While batches are under way, items linger (for the client's calls about
2 ms), because then there is load worth collecting.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

Key = TypeVar("Key")
Item = TypeVar("Item")
_Key_contra = TypeVar("_Key_contra", contravariant=True)
_Item = TypeVar("_Item")


class TimerHandle(Protocol):
    """A callback that can be cancelled."""

    def cancel(self) -> None:
        """Cancel the call."""


class Scheduler(Protocol):
    """The two calls of an event loop that are needed here."""

    def call_soon(self, callback: Callable[..., Any], *args: Any) -> TimerHandle:
        """Call at the end of this iteration."""

    def call_later(self, delay: float, callback: Callable[..., Any], *args: Any) -> TimerHandle:
        """Call after ``delay`` seconds."""


class BatchSink(Protocol[_Key_contra, _Item]):
    """Receiver of the batches of a ``Coalescer``."""

    @property
    def busy(self) -> bool:
        """Whether batches are under way."""

    def send(self, key: _Key_contra, items: list[_Item]) -> None:
        """Send a batch."""


class Coalescer(Generic[Key, Item]):
    """Batches of items by key, each sent to the sink with at most ``most`` items, in order of arrival."""

    def __init__(
        self, sink: BatchSink[Key, Item], *, scheduler: Scheduler, linger_s: float, most: int
    ) -> None:
        self._sink = sink
        self._scheduler = scheduler
        self._linger_s = linger_s
        self._most = most
        self._groups: dict[Key, tuple[list[Item], TimerHandle]] = {}

    def add(self, key: Key, item: Item) -> None:
        """Add an item; it is sent within the linger time, or at once when its batch is full."""
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = ([], self._schedule(key))
        group[0].append(item)
        if len(group[0]) >= self._most:
            group[1].cancel()
            self._flush(key)

    def clear(self) -> list[Item]:
        """Remove and return the items that were not sent."""
        groups, self._groups = self._groups, {}
        for _, timer in groups.values():
            timer.cancel()
        return [item for items, _ in groups.values() for item in items]

    def _schedule(self, key: Key) -> TimerHandle:
        if self._sink.busy and self._linger_s > 0:
            return self._scheduler.call_later(self._linger_s, self._flush, key)
        return self._scheduler.call_soon(self._flush, key)

    def _flush(self, key: Key) -> None:
        group = self._groups.pop(key, None)
        if group is not None:
            self._sink.send(key, group[0])
