"""Server of the agent's unix socket: connections, their frames, and how many of them at once."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from queueing.agent.connection import Connection, Signer, TokenStates
from queueing.agent.cryptoki import Rv
from queueing.agent.rpc.calls import error_answer
from queueing.agent.rpc.frames import Frame, frame, read_frame
from queueing.aio.owned_tasks import OwnedTasks
from queueing.errors import ConfigError

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter

MAX_CONNECTIONS: Final = 512
"""Connections at once, half of the usual limit of open files. A build has one for each running tool."""

MAX_CALLS: Final = 32
"""Calls of one connection that are answered at once; what comes then waits in the socket."""

_PROTOCOL_VERSION: Final = b"\0"
"""First byte of an answer: version 0, which every p11-kit speaks, whatever it offers."""

_BACKLOG: Final = 128
_log: Final = logging.getLogger("sigmill.agent")


class AgentServer:
    """Listens on a unix socket of mode 0600 from ``__aenter__`` to ``__aexit__``, which ends all connections."""

    def __init__(self, path: Path, tokens: TokenStates, signer: Signer, tenant: str) -> None:
        self._path = path
        self._tokens = tokens
        self._signer = signer
        self._tenant = tenant
        self._open = 0

    @property
    def address(self) -> str:
        """Value of P11_KIT_SERVER_ADDRESS."""
        return f"unix:path={_percent_encoded(self._path)}"

    async def __aenter__(self) -> Self:
        listener = _listener(self._path)
        self._tasks = OwnedTasks()
        await self._tasks.open()
        self._server = await asyncio.start_unix_server(self._accept, sock=listener, backlog=_BACKLOG)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._tasks.close()
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()

    def _accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        if self._tasks.closed or self._open >= MAX_CONNECTIONS:
            _log.warning("the agent has %d connections and refuses another one", self._open)
            writer.close()
            return
        self._open += 1
        self._tasks.start(self._serve(reader, writer))

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        calls = OwnedTasks()
        await calls.open()
        try:
            await self._answer_all(reader, writer, calls)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the tool has ended: p11-kit's client closes without a word
        finally:
            self._open -= 1
            # Not closed, which would keep the socket, uncounted, until the tool has read the last answer.
            writer.transport.abort()
            await calls.close()

    async def _answer_all(self, reader: StreamReader, writer: StreamWriter, calls: OwnedTasks) -> None:
        connection = Connection(self._tokens, self._signer, self._tenant)
        free = asyncio.Semaphore(MAX_CALLS)
        await reader.readexactly(1)
        writer.write(_PROTOCOL_VERSION)
        while True:
            request = await read_frame(reader)
            await free.acquire()
            calls.start(_answer(connection, request, writer, free))
            await asyncio.sleep(0)  # most calls are answered in their first step
            await writer.drain()  # and a tool that reads no answers gets no more of them


async def _answer(
    connection: Connection, request: Frame, writer: StreamWriter, free: asyncio.Semaphore
) -> None:
    try:
        writer.write(frame(request.code, await _message(connection, request)))
        with contextlib.suppress(ConnectionError):
            await writer.drain()
    finally:
        free.release()


async def _message(connection: Connection, request: Frame) -> bytes:
    if request.message is None:
        return error_answer(Rv.DATA_LEN_RANGE)
    try:
        return await connection.answer(request.message)
    except Exception:  # noqa: BLE001  # a defect costs this call; the other connections continue
        _log.exception("the agent could not answer a call")
        return error_answer(Rv.GENERAL_ERROR)


def _listener(path: Path) -> socket.socket:
    """A socket bound to ``path``, which only the user may connect to; raises ``ConfigError``."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)  # no moment in which others could connect
    try:
        try:
            _remove_left_over(path)
            listener.bind(os.fspath(path))
        finally:
            os.umask(before)
    except OSError as error:
        listener.close()
        raise _unbindable(path, error) from None
    listener.setblocking(False)
    return listener


def _remove_left_over(path: Path) -> None:
    """Remove the socket of an agent that was killed. Raises ``OSError`` where one listens, or another kind of file is there."""
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink()
        else:
            raise OSError(errno.EADDRINUSE, "another agent listens on this socket already")


def _unbindable(path: Path, error: OSError) -> ConfigError:
    problem = error.strerror or str(error)  # a path that is too long has no errno
    return ConfigError(
        f"--socket {path}",
        "",
        f"the agent cannot listen there: {problem}",
        "Choose a path of at most 107 bytes in a folder of your own (`sigmill run`: TMPDIR); stop an agent that listens there.",
    )


def _percent_encoded(path: Path) -> str:
    """The path as p11-kit reads it in addresses: all but letters, digits and ``_-/.`` as %XX (``p11_path_encode``)."""
    safe = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-/."
    return "".join(chr(byte) if byte in safe else f"%{byte:02X}" for byte in os.fsencode(path.absolute()))
