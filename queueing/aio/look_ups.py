"""Look-ups of host names: of each name one at a time."""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import socket
from typing import Any

from queueing.aio.daemon_calls import started_in_daemon_thread


class LookUps:
    """Look-ups of the names of one pool of connections. All who wait for a name share its look-up.

    ``getaddrinfo`` cannot be cancelled, and a resolver that is silent holds it for ten to thirty seconds. uvloop calls it in few threads, of
    which connections that give up and are tried again would take all: so a connection is given an address.
    """

    def __init__(self) -> None:
        self._running: dict[str, asyncio.Future[list[Any]]] = {}

    async def addresses(self, host: str) -> list[str]:
        """Addresses of this name, in the resolver's order; an address stands for itself. Raises the resolver's ``OSError``.

        Costs a thread, where none looks this name up already; that ends with its answer, and not with the callers.
        """
        if _is_address(host):
            return [host]
        running = self._running.get(host)
        if running is None or running.get_loop() is not asyncio.get_running_loop():
            running = self._running[host] = asyncio.wrap_future(started_in_daemon_thread(_of_streams, host))
            running.add_done_callback(functools.partial(self._ended, host))
        await asyncio.wait((running,))  # a caller that is cancelled does not cancel it
        return list(dict.fromkeys(place[0] for *_, place in running.result()))

    def _ended(self, host: str, done: asyncio.Future[Any]) -> None:
        if self._running.get(host) is done:
            del self._running[host]
        if not done.cancelled():
            done.exception()  # it need not have a listener left


def _of_streams(host: str) -> list[Any]:
    return socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
