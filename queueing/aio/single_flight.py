"""Concurrent callers share one run of the same work."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """The first caller works, the others get its result or error, all in one turn of the loop.

    When the one who works is cancelled, another takes over.
    """

    def __init__(self) -> None:
        self._running: asyncio.Future[T] | None = None

    async def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """The result of ``work``, or of the run that is under way."""
        while (running := self._running) is not None:
            await asyncio.wait((running,))
            if not running.cancelled():
                return running.result()
        self._running = running = asyncio.get_running_loop().create_future()
        try:
            result = await work()
        except asyncio.CancelledError:
            running.cancel()
            raise
        except Exception as error:
            running.set_exception(error)
            running.exception()  # it need not have another listener
            raise
        else:
            running.set_result(result)
            return result
        finally:
            self._running = None

    async def ended(self) -> None:
        """Return when no run is under way."""
        while (running := self._running) is not None:
            await asyncio.wait((running,))
