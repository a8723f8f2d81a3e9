"""The front's connection to the issuer's lane: started as a child or reached at its socket, and again whenever it ends."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Final

from queueing.aio.backoff import Backoff
from queueing.errors import IssuerUnavailable
from workers.issuer.frames import (
    LENGTH,
    Granted,
    Judged,
    LaneEnding,
    LaneReady,
    Refused,
    RequestGrant,
    decode_answer,
    encode_frame,
    frame_length,
)

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter
    from asyncio.subprocess import Process

    from workers.issuer.frames import FromLane
    from workers.issuer.issuer_file import IssuerConfiguration

log = logging.getLogger("sigmill.issuer")

MOST_WAITING: Final = 256
"""Requests before the lane; at 5 ms for each a caller waits for a second. More are sent away with a time."""

ANSWER_S: Final = 15.0
"""Longest wait for an answer: a call of the token may take ``call_timeout_s``."""

_RETRY_AFTER_S: Final = 2.0
_PASSED_ON: Final = ("LANG", "LC_ALL", "TZ", "PATH", "CREDENTIALS_DIRECTORY")
_EXIT_S: Final = 3.0


class LaneClient:
    """Requests to the lane, answered in its order. ``run`` keeps it connected."""

    def __init__(self, configuration: IssuerConfiguration) -> None:
        self._configuration = configuration
        self._writer: StreamWriter | None = None
        self._waiting: dict[int, asyncio.Future[Granted | Judged | Refused]] = {}
        self._last = 0
        self.ready = False

    @property
    def waiting(self) -> int:
        """Number of requests that have no answer yet."""
        return len(self._waiting)

    def check_room(self) -> None:
        """Raise ``IssuerUnavailable`` where no request would be taken now: no lane is logged in, or too many wait."""
        self._usable_writer()

    async def ask(self, body: bytes, certificate: bytes, *, check: bool) -> Granted | Judged | Refused:
        """The lane's answer. Raises ``IssuerUnavailable`` where there is no lane, too many wait, or it takes too long."""
        writer = self._usable_writer()
        self._last += 1
        number = self._last
        answer: asyncio.Future[Granted | Judged | Refused] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            writer.write(encode_frame(RequestGrant(number, body, certificate, check)))
            async with asyncio.timeout(ANSWER_S):
                return await answer
        except TimeoutError:
            raise IssuerUnavailable(
                f"the issuer's lane did not answer within {ANSWER_S:g} s", retry_after_s=_RETRY_AFTER_S
            ) from None
        finally:
            self._waiting.pop(number, None)

    def _usable_writer(self) -> StreamWriter:
        # A transport that has met the lane's end is closed before `run` has read of it; to write to it is an error then.
        if not self.ready or self._writer is None or self._writer.is_closing():
            raise IssuerUnavailable("the issuer's lane is not logged in", retry_after_s=_RETRY_AFTER_S)
        if len(self._waiting) >= MOST_WAITING:
            raise IssuerUnavailable(f"{MOST_WAITING} requests wait before", retry_after_s=_RETRY_AFTER_S)
        return self._writer

    async def run(self) -> None:
        """Stay connected to a lane until cancelled."""
        backoff = Backoff(first_s=0.2, most_s=10.0)
        while True:
            process: Process | None = None
            try:
                reader, writer, process = await self._open()
                try:
                    await self._serve(reader, writer, backoff)
                finally:
                    writer.close()
            except (OSError, ValueError) as error:
                why = getattr(error, "strerror", None) or type(error).__name__
                log.error("issuer.lane_ended", extra={"why": why})
            finally:
                self._lost()
                if process is not None:
                    await _ended(process)
            await asyncio.sleep(backoff.next_s())

    async def _serve(self, reader: StreamReader, writer: StreamWriter, backoff: Backoff) -> None:
        self._writer = writer
        while True:
            try:
                head = await reader.readexactly(LENGTH.size)
                message = decode_answer(await reader.readexactly(frame_length(head)))
            except asyncio.IncompleteReadError:
                raise ConnectionResetError(None, "it has hung up") from None
            if isinstance(message, LaneReady):
                backoff.reset()
            self._received(message)

    def _received(self, message: FromLane) -> None:
        if isinstance(message, LaneReady):
            self.ready = True
            log.info("issuer.lane_ready", extra={"pid": message.pid})
        elif isinstance(message, LaneEnding):
            self.ready = False
            log.error("issuer.lane_ended", extra={"why": message.code_name})
        else:
            answer = self._waiting.get(message.id)
            if answer is not None and not answer.done():
                answer.set_result(message)

    def _lost(self) -> None:
        self.ready, self._writer = False, None
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(
                    IssuerUnavailable("the issuer's lane has ended", retry_after_s=_RETRY_AFTER_S)
                )

    async def _open(self) -> tuple[StreamReader, StreamWriter, Process | None]:
        place = self._configuration.socket
        if place is not None:
            return *await asyncio.open_unix_connection(str(place)), None
        ours, theirs = socket.socketpair()
        with ExitStack() as unless_started, theirs:
            unless_started.callback(ours.close)
            words = ["--config", str(self._configuration.file), "--child-of", str(os.getpid())]
            environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-I", "-m", "workers.cli", "issuer", "lane", *words, "--fd", str(theirs.fileno()),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=environment | self._configuration.token_settings.environment,
                start_new_session=True,  # a terminal's Ctrl-C ends the front, which then ends its lane
            )  # fmt: skip
            unless_started.pop_all()
        try:
            ours.setblocking(False)
            return *await asyncio.open_unix_connection(sock=ours), process
        except BaseException:  # `run` knows of neither
            ours.close()
            await _ended(process)
            raise


async def _ended(process: Process) -> None:
    """Wait for a lane that has lost its connection; one that does not exit is killed."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_EXIT_S):
            await process.wait()
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
