"""Cancellation at each place where a coroutine waits, and what it leaves open."""

from __future__ import annotations

import asyncio
import gc
import types
import warnings
from collections.abc import Coroutine, Generator, Iterator
from contextlib import contextmanager
from typing import Any


async def cancelled_at(wait: int, work: Coroutine[Any, Any, object], *, at_once: bool = False) -> bool:
    """Run ``work`` in a task that is cancelled at its wait of this number, from 1; False when it has fewer.

    ``at_once``: before anything that it has started runs.
    """
    met: list[int] = []
    task = asyncio.create_task(_counted(work, wait, met, at_once=at_once))
    await asyncio.wait((task,))
    if not task.cancelled():
        task.exception()  # redis-py can swallow a cancellation before Python 3.12 (python/cpython#86296)
    return bool(met)


async def _counted(work: Coroutine[Any, Any, object], wait: int, met: list[int], *, at_once: bool) -> object:
    return await _stepped(work, wait, met, at_once=at_once)


@types.coroutine
def _stepped(
    work: Coroutine[Any, Any, object], wait: int, met: list[int], *, at_once: bool
) -> Generator[Any, Any, object]:
    error: BaseException | None = None
    count = 0
    while True:
        try:
            waited_for = work.send(None) if error is None else work.throw(error)
        except StopIteration as end:
            return end.value
        error = None
        count += 1
        if count == wait:
            met.append(wait)
            task = asyncio.current_task()
            assert task is not None
            if at_once:
                task.cancel()
            else:
                asyncio.get_running_loop().call_soon(task.cancel)
        try:
            yield waited_for
        except BaseException as thrown:  # noqa: BLE001 - it belongs to the coroutine inside
            error = thrown


@contextmanager
def nothing_unclosed() -> Iterator[None]:
    """Fails with each ``ResourceWarning`` that a collection brings up at the end."""
    gc.collect()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        yield
        gc.collect()
    left = [str(warning.message) for warning in caught if issubclass(warning.category, ResourceWarning)]
    assert not left, left
