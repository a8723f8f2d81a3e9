"""Server of the agent's unix socket: connections, their frames, and how many of them at once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from queueing.agent.agent_socket import BACKLOG, listening_socket
from queueing.agent.connection import Connection, Signer, TokenStates
from queueing.agent.cryptoki import Rv
from queueing.agent.rpc.calls import error_answer
from queueing.agent.rpc.frames import Frame, frame, read_frame
from queueing.aio.owned_tasks import OwnedTasks

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter

MAX_CONNECTIONS: Final = 512
"""Connections at once, half of the usual limit of open files. A build has one for each running tool."""

MAX_CALLS: Final = 32
"""Calls of one connection that are answered at once; what comes then waits in the socket."""

_PROTOCOL_VERSION: Final = b"\0"
"""First byte of an answer: version 0, which every p11-kit speaks, whatever it offers."""

_log: Final = logging.getLogger("sigmill.agent")


class AgentServer:
    """Listens on a unix socket of mode 0600 from ``__aenter__`` to ``__aexit__``, which ends all connections."""

    def __init__(self, path: Path, tokens: TokenStates, signer: Signer, tenant: str) -> None:
        self._path = path
        self._tokens = tokens
        self._signer = signer
        self._tenant = tenant
        self._open = 0
        self._tasks = OwnedTasks()

    @property
    def address(self) -> str:
        """Value of P11_KIT_SERVER_ADDRESS."""
        return f"unix:path={_percent_encoded(self._path)}"

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as held:
            listener = held.enter_context(listening_socket(self._path))
            await self._tasks.open()
            held.push_async_callback(self._tasks.close)
            server = await asyncio.start_unix_server(self._accept, sock=listener, backlog=BACKLOG)
            held.callback(server.close)
            self._held = held.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._held.aclose()

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


def _percent_encoded(path: Path) -> str:
    """The path as p11-kit reads it in addresses: all but letters, digits and ``_-/.`` as %XX (``p11_path_encode``)."""
    safe = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-/."
    return "".join(chr(byte) if byte in safe else f"%{byte:02X}" for byte in os.fsencode(path.absolute()))
