"""Tasks of an object that is opened and closed: closing cancels all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine
from typing import Any, Final, TypeVar

T = TypeVar("T")

THE_CLIENT_WAS_CLOSED: Final = "the client was closed"

CLOSED: Final = f"{THE_CLIENT_WAS_CLOSED} before the result came"
"""Message for a caller whose task was cancelled by the close."""

_CANCEL_AGAIN_S: Final = 0.05
"""Until 3.12, ``asyncio.wait_for`` (in redis-py: every command sent) can swallow a cancellation that meets the
end of what it waits for (python/cpython#86296); so one ``cancel()`` is not always enough."""


async def end_tasks(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel these tasks, as often as it takes, and wait until they have ended; their errors stay in them."""
    while left := [task for task in tasks if not task.done()]:
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=_CANCEL_AGAIN_S)


class OwnedTasks:
    """A TaskGroup that cancels what is still running when it is closed.

    A task that fails unexpectedly cancels the task that opened the group, and closing then raises its error: a
    defect is never silent.
    """

    def __init__(self) -> None:
        self._group = asyncio.TaskGroup()
        self._tasks: set[asyncio.Task[Any]] = set()
        self.closed = False
        """Whether closing has begun: from then on no task may be started."""

    async def open(self) -> None:
        """Begin: from now on tasks may be started."""
        await self._group.__aenter__()

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run a coroutine until it ends or the group closes."""
        task = self._group.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        """Cancel what is left and wait for its end; raises the unexpected errors of tasks."""
        self.closed = True
        await end_tasks(self._tasks)
        await self._group.__aexit__(None, None, None)
