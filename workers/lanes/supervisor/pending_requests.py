"""Requests to lanes that are no chunks, each with the caller that waits for its answer: canaries and key directories."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from queueing.errors import TokenUnavailable

if TYPE_CHECKING:
    from workers.lanes.protocol import SignCanary, SignDirectory, SignedCanary, SignedDirectory
    from workers.lanes.supervisor.connection import LaneConnection


class CanaryRequests:
    """None is kept for a lane that is to come: a canary starts no lane and outlives none."""

    def __init__(self) -> None:
        self._asked: dict[int, tuple[LaneConnection, asyncio.Future[SignedCanary]]] = {}

    async def ask(self, link: LaneConnection, request: SignCanary, timeout_s: float) -> SignedCanary:
        """The lane's answer; ``TokenUnavailable`` (retryable) when it ends, or takes longer than this."""
        answer: asyncio.Future[SignedCanary] = asyncio.get_running_loop().create_future()
        self._asked[request.id] = link, answer
        link.ask(request)
        try:
            async with asyncio.timeout(timeout_s):
                return await answer
        except TimeoutError:
            raise TokenUnavailable("the lane did not answer its canary") from None
        finally:
            del self._asked[request.id]

    def answered(self, answer: SignedCanary) -> None:
        """A lane answered; whoever waits is told."""
        _, waiting = self._asked.get(answer.id, (None, None))
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)

    def lane_ended(self, link: LaneConnection) -> None:
        """This lane answers nothing any more."""
        for asked, waiting in self._asked.values():
            if asked is link and not waiting.done():
                waiting.set_exception(TokenUnavailable("the lane ended over its canary"))


class DirectoryRequests:
    """Requests wait until a lane is ready, then for its answer. One that is given up ends as ``TokenUnavailable``."""

    def __init__(self) -> None:
        self._unsent: dict[int, SignDirectory] = {}
        self._answers: dict[int, asyncio.Future[SignedDirectory]] = {}
        self._asked: dict[int, LaneConnection] = {}

    @property
    def waiting(self) -> bool:
        """Whether a request has not been sent to a lane yet."""
        return bool(self._unsent)

    def add(self, request: SignDirectory) -> asyncio.Future[SignedDirectory]:
        """One more; to be taken back by ``forget`` in the end."""
        self._unsent[request.id] = request
        answer = self._answers[request.id] = asyncio.get_running_loop().create_future()
        return answer

    def forget(self, request: SignDirectory) -> None:
        """Nobody waits for it any more."""
        for table in (self._unsent, self._answers, self._asked):
            table.pop(request.id, None)

    def send(self, link: LaneConnection) -> None:
        """Ask this lane, which is ready, for everything that waits."""
        unsent, self._unsent = self._unsent, {}
        for request in unsent.values():
            self._asked[request.id] = link
            link.ask(request)

    def signed(self, answer: SignedDirectory) -> None:
        """A lane answered; whoever waits is told."""
        waiting = self._answers.get(answer.id)
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)

    def lane_ended(self, link: LaneConnection) -> None:
        """What this lane was asked will not be answered: who waits is told now, not by a time-out."""
        self._fail([number for number, asked in self._asked.items() if asked is link], "its lane ended")

    def give_up(self) -> None:
        """No lane will be ready soon."""
        unsent, self._unsent = self._unsent, {}
        self._fail(list(unsent), "it cannot be used now")

    def _fail(self, numbers: list[int], why: str) -> None:
        for number in numbers:
            waiting = self._answers.get(number)
            if waiting is not None and not waiting.done():
                waiting.set_exception(TokenUnavailable(f"the service's token signs no directory: {why}"))
