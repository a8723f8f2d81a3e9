"""Blocking calls to the network, in daemon threads: a call that does not return holds up only those who wait for it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar, TypeVarTuple

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")


async def in_daemon_thread(call: Callable[[*Arguments], T], *arguments: *Arguments) -> T:
    """Result of ``call(*arguments)`` in a thread of its own; raises what it raises.

    Unlike with ``asyncio.to_thread``, neither the loop nor the process waits for the thread at its end: a look-up of a name cannot
    be cancelled, and takes up to thirty seconds where the resolver does not answer. So it is for calls that leave nothing
    half done, and not for those that write files.
    """
    return await asyncio.wrap_future(started_in_daemon_thread(call, *arguments))


def started_in_daemon_thread(call: Callable[[*Arguments], T], *arguments: *Arguments) -> Future[T]:
    """Future of ``call(*arguments)``, which runs in a thread of its own; it is not cancelled with those who wait for it."""
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()  # a cancelled caller does not stop the thread

    def run() -> None:
        try:
            result = call(*arguments)
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is awaited
            future.set_exception(error)
        else:
            future.set_result(result)

    threading.Thread(target=run, name="network-call", daemon=True).start()
    return future
