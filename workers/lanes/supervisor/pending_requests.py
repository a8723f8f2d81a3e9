"""Canaries that lanes were asked for: each waits for its lane's answer, and for nothing else."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from queueing.errors import TokenUnavailable

if TYPE_CHECKING:
    from workers.lanes.protocol import SignCanary, SignedCanary
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
