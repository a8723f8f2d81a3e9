"""Relay between a client and a server, for a network that is cut, slow or silent."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path
from typing import Self, TypeAlias

Address: TypeAlias = "Path | int"
"""Unix socket, or TCP port on the loopback interface."""

_BYTES = 65536


class Relay:
    """Forwards each connection to ``here`` to ``there``, both ways. For ``with``."""

    def __init__(self, here: Address, there: Address) -> None:
        self._here, self._there = here, there
        self._listener: socket.socket | None = None
        self._open: set[socket.socket] = set()
        self._flows = threading.Event()
        self._ended = threading.Event()
        self.delay_s = 0.0
        """Time by which each message of the server comes later."""

    def __enter__(self) -> Self:
        self.restore()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.cut()

    def cut(self) -> None:
        """End all connections; new ones are refused."""
        if self._listener is not None:
            _end(self._listener)
            self._listener = None
        if isinstance(self._here, Path):
            self._here.unlink(missing_ok=True)
        for each in list(self._open):
            _end(each)
        self._open.clear()
        self._flows.set()

    def silence(self) -> None:
        """Forward nothing any more; connections stay open, new ones are accepted."""
        self._flows.clear()

    def restore(self) -> None:
        """Forward all, also what waited."""
        self._flows.set()
        if self._listener is None:
            self._listener = _listen(self._here)
            threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):  # the listener is closed
            while True:
                near, _ = listener.accept()
                try:
                    far = _connect(self._there)
                except OSError:
                    _end(near)
                    continue
                self._open |= {near, far}
                for source, sink, late in ((near, far, False), (far, near, True)):
                    threading.Thread(target=self._pump, args=(source, sink, late), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, late: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_BYTES):
                if late and self.delay_s:
                    self._ended.wait(self.delay_s)
                self._flows.wait()
                sink.sendall(data)
        for each in (source, sink):
            self._open.discard(each)
            _end(each)


def _listen(address: Address) -> socket.socket:
    if isinstance(address, Path):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(address))
    else:
        listener = socket.socket(socket.AF_INET)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", address))
    listener.listen()
    return listener


def _connect(address: Address) -> socket.socket:
    if isinstance(address, Path):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(address))
        return connection
    return socket.create_connection(("127.0.0.1", address))


def _end(each: socket.socket) -> None:
    with contextlib.suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits in it
    each.close()
