"""Requests to a token's lanes other than chunks, each with the caller that awaits its answer: key directories, statements and canaries."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

from queueing.errors import TokenUnavailable
from workers.lanes.protocol import SignDirectory, SignedDirectory, SignedStatement, SignStatement
from workers.lanes.supervisor.process_group import SILENCE_GRACE_S
from workers.lanes.supervisor.spawn import ready_timeout_s

if TYPE_CHECKING:
    from workers.lanes.protocol import SignCanary, SignedCanary
    from workers.lanes.supervisor.connection import LaneConnection, RequestAnswer
    from workers.lanes.supervisor.process_group import LaneProcesses

CANARY_GRACE_S: Final = 2.0
"""A lane that hangs over its canary is ended first, which is a better reason than a timeout of the canary."""


Request = TypeVar("Request", SignDirectory, SignStatement)
Answer = TypeVar("Answer", SignedDirectory, SignedStatement)


class RequestPool(Protocol):
    """Pool whose lanes answer the requests."""

    @property
    def healthy(self) -> bool:
        """Whether the token is used."""

    def pump(self) -> None:
        """Send what waits; start a lane where one is missing."""


class LaneRequests:
    """Requests for directories, statements and canaries to the lanes of one token."""

    def __init__(self, processes: LaneProcesses, pool: RequestPool) -> None:
        self._processes = processes
        self._pool = pool
        self._directories = _ServiceRequests[SignDirectory, SignedDirectory]("directory")
        self._statements = _ServiceRequests[SignStatement, SignedStatement]("statement")
        self._canaries = _CanaryRequests()

    async def sign_directory(self, request: SignDirectory) -> SignedDirectory:
        """Directory signed by the service's lane, which is started for it.

        Raises ``TokenUnavailable`` (retryable) when there is no lane.
        """
        return await self._ask(self._directories, request)

    async def sign_statement(self, request: SignStatement) -> SignedStatement:
        """Origin statement signed by the service's lane, which is started for it.

        Raises ``TokenUnavailable`` (retryable) when there is no lane, or it is of a former version.
        """
        return await self._ask(self._statements, request)

    async def _ask(self, requests: _ServiceRequests[Request, Answer], request: Request) -> Answer:
        if not self._pool.healthy:
            raise TokenUnavailable("the service's token cannot be used now")
        answer = requests.add(request)
        self._pool.pump()
        try:
            async with asyncio.timeout(ready_timeout_s(self._processes.spec)):
                return await answer
        except TimeoutError:
            raise TokenUnavailable("the service's lane did not answer") from None
        finally:
            requests.forget(request)

    @property
    def takes_canaries(self) -> bool:
        """Whether a lane that knows canaries is logged in."""
        return bool(self._canary_lanes())

    async def sign_canary(self, request: SignCanary) -> SignedCanary:
        """Canary signed by one of the running lanes, each in turn.

        Raises ``TokenUnavailable`` (retryable) when none is logged in, or the lane exits or does not answer.
        """
        lanes = self._canary_lanes()
        if not lanes:
            raise TokenUnavailable("no lane is logged in")
        timeout_s = self._processes.spec.settings.call_timeout_s + SILENCE_GRACE_S + CANARY_GRACE_S
        return await self._canaries.send(lanes[request.id % len(lanes)], request, timeout_s)

    def _canary_lanes(self) -> list[LaneConnection]:
        return [
            lane for lane in self._processes.ready_lanes() if lane.ready is not None and lane.ready.canaries
        ]

    def send_waiting(self) -> None:
        """Send the requests for directories and statements that wait to a ready lane; start one if there is none."""
        if not self._directories.waiting and not self._statements.waiting:
            return
        ready = self._processes.ready_lanes()
        if ready:
            self._directories.send(ready[0])
            if ready[0].ready is not None and ready[0].ready.statements:
                self._statements.send(ready[0])
            else:
                self._statements.fail_waiting("its lane is of a former version")
        elif not self._processes.count:
            self._processes.start_one_more()

    def answered(self, answer: RequestAnswer) -> None:
        """Give a lane's answer to the caller that awaits it."""
        if isinstance(answer, SignedDirectory):
            self._directories.answered(answer)
        elif isinstance(answer, SignedStatement):
            self._statements.answered(answer)
        else:
            self._canaries.answered(answer)

    def lane_ended(self, lane: LaneConnection) -> None:
        """Fail the requests that were sent to a lane that has exited."""
        self._directories.lane_ended(lane)
        self._statements.lane_ended(lane)
        self._canaries.lane_ended(lane)

    def fail_waiting(self) -> None:
        """Fail the requests that were not sent: no lane will be ready soon."""
        self._directories.fail_waiting()
        self._statements.fail_waiting()


class _CanaryRequests:
    """Canaries that were sent to lanes. None waits for a lane: a canary starts none, and ends with its lane."""

    def __init__(self) -> None:
        self._sent: dict[int, tuple[LaneConnection, asyncio.Future[SignedCanary]]] = {}

    async def send(self, lane: LaneConnection, request: SignCanary, timeout_s: float) -> SignedCanary:
        """The lane's answer; ``TokenUnavailable`` (retryable) when it exits, or does not answer in time."""
        answer: asyncio.Future[SignedCanary] = asyncio.get_running_loop().create_future()
        self._sent[request.id] = lane, answer
        lane.send_request(request)
        try:
            async with asyncio.timeout(timeout_s):
                return await answer
        except TimeoutError:
            raise TokenUnavailable("the lane did not answer its canary") from None
        finally:
            del self._sent[request.id]

    def answered(self, answer: SignedCanary) -> None:
        """Give the answer to its caller."""
        _, future = self._sent.get(answer.id, (None, None))
        if future is not None and not future.done():
            future.set_result(answer)

    def lane_ended(self, lane: LaneConnection) -> None:
        """Fail the canaries of this lane."""
        for sent_to, future in self._sent.values():
            if sent_to is lane and not future.done():
                future.set_exception(TokenUnavailable("the lane ended over its canary"))


class _ServiceRequests(Generic[Request, Answer]):
    """Requests that wait for a ready lane, then for its answer. One that fails raises ``TokenUnavailable``."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._unsent: dict[int, Request] = {}
        self._answers: dict[int, asyncio.Future[Answer]] = {}
        self._sent_to: dict[int, LaneConnection] = {}

    @property
    def waiting(self) -> bool:
        """Whether a request was not sent to a lane."""
        return bool(self._unsent)

    def add(self, request: Request) -> asyncio.Future[Answer]:
        """Add a request, to be removed by ``forget`` in the end."""
        self._unsent[request.id] = request
        answer = self._answers[request.id] = asyncio.get_running_loop().create_future()
        return answer

    def forget(self, request: Request) -> None:
        """Remove a request whose caller no longer waits."""
        self._unsent.pop(request.id, None)
        self._answers.pop(request.id, None)
        self._sent_to.pop(request.id, None)

    def send(self, lane: LaneConnection) -> None:
        """Send everything that waits to this lane, which is ready."""
        unsent, self._unsent = self._unsent, {}
        for request in unsent.values():
            self._sent_to[request.id] = lane
            lane.send_request(request)

    def answered(self, answer: Answer) -> None:
        """Give the answer to its caller."""
        future = self._answers.get(answer.id)
        if future is not None and not future.done():
            future.set_result(answer)

    def lane_ended(self, lane: LaneConnection) -> None:
        """Fail the requests of this lane at once, not by a timeout."""
        self._fail([number for number, sent_to in self._sent_to.items() if sent_to is lane], "its lane ended")

    def fail_waiting(self, why: str = "it cannot be used now") -> None:
        """Fail the requests that were not sent."""
        unsent, self._unsent = self._unsent, {}
        self._fail(list(unsent), why)

    def _fail(self, numbers: list[int], why: str) -> None:
        for number in numbers:
            future = self._answers.get(number)
            if future is not None and not future.done():
                future.set_exception(TokenUnavailable(f"the service's token signs no {self._what}: {why}"))
