"""Process with the command line already imported, which forks for each command: ``python -m tests.support.commands.warm_sigmill``.

Most of the CPU time of a short ``sigmill`` is Python's start and the imports. A fork has them for nothing; it has the words,
the environment, the directory and the streams of its client (``warm_client.py``), and ends as a process of its own. It listens
on the abstract Unix socket that is its argument, until its stdin ends.
"""

from __future__ import annotations

import contextlib
import gc
import os
import selectors
import signal
import socket
import sys
from dataclasses import dataclass
from importlib import import_module
from typing import Final

from workers.cli import commands
from workers.cli.main import main

_NOT_IMPORTED: Final = {"bench", "dev", "exporter", "lane", "relay", "sealer", "worker"}
"""Commands of processes that go on, which no test runs to its end."""

_NOT_IMPORTED_FROM: Final = "workers.cli.issuer."
"""Commands that set the environment before they import."""

_LATER: Final = ("redis.asyncio", "queueing.client.signing_client")
"""Modules that commands import while they run."""


@dataclass(frozen=True, slots=True)
class Request:
    """Command of a client, with its streams."""

    words: list[str]
    directory: bytes
    environment: dict[bytes, bytes]
    streams: list[int]

    @classmethod
    def receive(cls, connection: socket.socket) -> Request:
        """Read it: its length in four bytes, with the streams, and its fields."""
        size, streams, _, _ = socket.recv_fds(connection, 4, 3)
        fields = connection.recv(int.from_bytes(size), socket.MSG_WAITALL).split(b"\0")
        count = int(fields[0])
        words = [os.fsdecode(field) for field in fields[1 : count + 1]]
        pairs = (field.partition(b"=") for field in fields[count + 2 :])
        return cls(words, fields[count + 1], {name: value for name, _, value in pairs}, streams)

    def become(self) -> None:
        """Take on the client's streams, directory and environment."""
        for number, stream in enumerate(self.streams):
            os.dup2(stream, number)
            os.close(stream)
        os.chdir(self.directory)
        os.environb.clear()
        os.environb.update(self.environment)
        sys.argv = ["sigmill", *self.words]


class Server:
    """Forks, answers with exit codes, and kills the command of a client that is gone."""

    def __init__(self, address: str) -> None:
        self._selector = selectors.DefaultSelector()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind("\0" + address)
        self._listener.listen(64)
        self._running: dict[int, tuple[int, socket.socket]] = {}

    def next_request(self) -> Request | None:
        """In a fork: its command. In the server: None, after its stdin has ended."""
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(0, selectors.EVENT_READ)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._listener:
                    request = self._fork()
                    if request is not None:
                        return request
                elif key.fd == 0:
                    return None
                elif key.fd in self._running:
                    self._answer(key.fd)
                else:
                    self._client_is_gone(key)

    def _fork(self) -> Request | None:
        connection, _ = self._listener.accept()
        request = Request.receive(connection)
        child = os.fork()
        if child == 0:
            self._close()
            connection.close()
            return request
        for stream in request.streams:
            os.close(stream)
        ended = os.pidfd_open(child)
        self._running[ended] = child, connection
        self._selector.register(ended, selectors.EVENT_READ)
        self._selector.register(connection, selectors.EVENT_READ, data=child)
        return None

    def _answer(self, ended: int) -> None:
        child, connection = self._running.pop(ended)
        _, status = os.waitpid(child, 0)
        self._selector.unregister(ended)
        os.close(ended)
        with contextlib.suppress(KeyError):
            self._selector.unregister(connection)
        with connection, contextlib.suppress(OSError):
            connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())

    def _client_is_gone(self, key: selectors.SelectorKey) -> None:
        """It was killed, as after a timeout: the command ends with it."""
        connection = key.fileobj
        assert isinstance(connection, socket.socket)
        self._selector.unregister(connection)
        with contextlib.suppress(ProcessLookupError):
            os.kill(key.data, signal.SIGKILL)

    def _close(self) -> None:
        """In a fork: close what is the server's."""
        self._selector.close()
        self._listener.close()
        for ended, (_, connection) in self._running.items():
            os.close(ended)
            connection.close()


def import_commands() -> None:
    """Import each command, and what commands import while they run."""
    tables = [table for name, table in vars(commands).items() if name.isupper()]
    for table in tables:
        for name, command in table.items():
            if name not in _NOT_IMPORTED and not command.target.startswith(_NOT_IMPORTED_FROM):
                import_module(command.target.partition(":")[0])
    for module in _LATER:
        import_module(module)


if __name__ == "__main__":
    import_commands()
    gc.freeze()  # a collection in a fork would copy all pages
    request = Server(sys.argv[1]).next_request()
    if request is not None:
        request.become()
        sys.exit(main(request.words))
