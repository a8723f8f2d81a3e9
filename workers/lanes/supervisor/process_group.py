"""The running lanes of one token: started one at a time, told to look again or to stop, ended when they are silent."""

from __future__ import annotations

import asyncio
import logging
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

from workers.lanes.supervisor.connection import LaneConnection, LaneOwner
from workers.lanes.supervisor.exit_reason import ExitReason, classify_exit
from workers.lanes.supervisor.spawn import LaneSpec, spawn_or_connect

if TYPE_CHECKING:
    from asyncio import TaskGroup
    from collections.abc import Callable, Collection, Iterable

log = logging.getLogger("sigmill.lanes")

READY_TIMEOUT_S: Final = 60.0
"""From start to login, behind other lanes that log in (one at a time on a host)."""

SILENCE_GRACE_S: Final = 5.0
"""A lane ends itself when a call hangs; this long after that the worker ends it."""

RELOAD_TIMEOUT_S: Final = 0.5
"""A lane that does not obey within this, looked at every half second, is ended: what is revoked stops within one."""

SHORTEST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 60.0
"""Between attempts to start one lane more beside those that sign; doubled each time. An attempt is a process and a login."""


class ProcessGroupOwner(LaneOwner, Protocol):
    """Who decides what follows from the life of a lane."""

    def lane_unreachable(self) -> None:
        """A lane could not be started, or found."""

    def lane_ready(self, link: LaneConnection) -> None:
        """A lane has logged in."""

    def lane_ended(self, link: LaneConnection, end: ExitReason) -> None:
        """A lane is gone."""


class LaneProcesses:
    """Lanes from start to end. ``links`` are those that are connected, also while they log in or stop."""

    def __init__(
        self,
        spec: LaneSpec,
        *,
        most: int,
        orders: Callable[[], tuple[bytes, ...]],
        tasks: TaskGroup,
        owner: ProcessGroupOwner,
        now_s: Callable[[], float],
    ) -> None:
        self.spec = spec
        self.most = most
        self._orders = orders
        self._tasks = tasks
        self._owner = owner
        self._now_s = now_s
        self._pause_s = SHORTEST_PAUSE_S
        self._held_back_until = 0.0
        self.links: list[LaneConnection] = []
        self._running: set[asyncio.Task[None]] = set()
        self._starting = 0
        self._reloads = 0
        self.closing = False

    @property
    def some_ready(self) -> bool:
        """Whether a lane is logged in."""
        return any(link.ready is not None and not link.stopping for link in self.links)

    @property
    def none_left(self) -> bool:
        """Whether no lane runs or starts."""
        return not self._running

    @property
    def count(self) -> int:
        """Lanes there are, counting one that has not connected yet."""
        return max(len(self.links), 1) if self._starting else len(self.links)

    @property
    def holds_back(self) -> bool:
        """Whether it makes do with the lanes that are logged in: one more could not be started a short while ago."""
        return self.some_ready and self._now_s() < self._held_back_until

    def hold_back(self) -> None:
        """One more could not be started: not again for a pause, which grows until a lane logs in."""
        self._held_back_until = self._now_s() + self._pause_s
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)

    def start_one_more(self) -> None:
        """Start a lane, if there may be another; one at a time."""
        if self._starting or len(self.links) >= self.most or self.closing or self.holds_back:
            return
        self._starting += 1
        task = self._tasks.create_task(self._run(), name=f"lane-{self.spec.token}")
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _run(self) -> None:
        """One lane from its start to its end."""
        spec, reloads = self.spec, self._reloads
        try:
            cpu = cpu_for_lane(self.most, os.sched_getaffinity(0), (other.cpu for other in self.links))
            connection = await spawn_or_connect(replace(spec, cpu=cpu))
        except OSError as error:
            self._starting -= 1
            log.warning("lane.unreachable", extra={"token": spec.token, "why": str(error)})
            self._owner.lane_unreachable()
            return
        link = LaneConnection(connection, self._owner)
        link.cpu = cpu
        self.links.append(link)
        orders = self._orders()
        if orders or reloads != self._reloads:
            link.ask_reload(orders, RELOAD_TIMEOUT_S, files=reloads != self._reloads)
        if self.closing or spec is not self.spec:
            link.stop()
        try:
            await self._serve(link)
        except BaseException:
            connection.kill()
            raise
        finally:
            self.links.remove(link)
        code = await connection.ended()
        self._owner.lane_ended(
            link,
            classify_exit(
                code=code,
                last_word=link.last_word,
                asked=link.stopping or self.closing,
                silent=link.silent,
                ready=link.ready is not None,
            ),
        )

    async def _serve(self, link: LaneConnection) -> None:
        reading = asyncio.ensure_future(link.read_until_end())
        became_ready = asyncio.ensure_future(link.became_ready.wait())
        try:
            await asyncio.wait(
                {reading, became_ready}, timeout=READY_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED
            )
            self._starting -= 1
            if link.ready is not None:
                self._pause_s = SHORTEST_PAUSE_S
                log.info("lane.ready", extra={"token": self.spec.token, "sessions": link.ready.sessions})
                self._owner.lane_ready(link)
                await reading
        finally:
            became_ready.cancel()
            reading.cancel()

    def obey(self) -> None:
        """Every lane judges the orders in force, or is ended."""
        self._ask_all(RELOAD_TIMEOUT_S, files=False)

    def reload(self, within_s: float) -> None:
        """Every lane reads its files again and judges the orders in force, or is ended after ``within_s``."""
        self._reloads += 1
        self._ask_all(within_s, files=True)

    def _ask_all(self, within_s: float, *, files: bool) -> None:
        for link in self.links:
            if not link.stopping:
                link.ask_reload(self._orders(), within_s, files=files)

    def reload_problems(self) -> list[str] | None:
        """What lanes found wrong with their files; None while one owes its answer."""
        if any(link.owes_reload for link in self.links):
            return None
        return [link.reload_problem for link in self.links if link.reload_problem]

    def change(self, spec: LaneSpec, most: int) -> None:
        """From now on lanes are as ``spec`` says; those that run end when they have answered what they have."""
        self.spec, self.most = spec, most
        self._pause_s, self._held_back_until = SHORTEST_PAUSE_S, 0.0
        self.stop()

    def stop(self) -> None:
        """Every lane ends when it has answered what it has."""
        for link in self.links:
            if not link.stopping:
                link.stop()

    def end_overdue(self, now: float, idle_s: float) -> None:
        """End lanes that did not obey, that are silent, or that have had nothing to do for ``idle_s``."""
        token, silence_s = self.spec.token, self.spec.settings.call_timeout_s + SILENCE_GRACE_S
        for link in self.links:
            if link.reload_overdue(now):
                log.error("lane.reload_overdue", extra={"token": token})
                link.stopping = True  # nobody is to blame for it
                link.connection.kill()
            elif link.silent_s(now) > silence_s:
                log.error("lane.silent", extra={"token": token})
                link.silent = True
                link.connection.kill()
            elif link.ready is not None and not link.stopping and link.idle_s(now) > idle_s:
                link.stop()

    async def close(self, within_s: float) -> None:
        """End all lanes: ask, then kill what is left after the call timeout, or ``within_s`` if that is shorter."""
        self.closing = True
        self.stop()
        if self._running:
            timeout_s = min(self.spec.settings.call_timeout_s, within_s)
            await asyncio.wait(set(self._running), timeout=timeout_s)
        self.kill()

    def kill(self) -> None:
        """End all lanes now."""
        self.closing = True
        for link in self.links:
            link.connection.kill()


def cpu_for_lane(most_lanes: int, allowed: Collection[int], taken: Iterable[int | None]) -> int | None:
    """The CPU of the next lane; None leaves it to the kernel.

    A token with a lane for each CPU has each on its own: the interpreter's lock is then never handed from one
    CPU to another (a fifth of the CPU time per signature on a network HSM, 4 % with SoftHSM's RSA). With fewer
    or more lanes than CPUs a pinned lane could wait while a CPU is idle.
    """
    if most_lanes != len(allowed) or most_lanes < 2:
        return None
    free = sorted(set(allowed) - {cpu for cpu in taken if cpu is not None})
    return free[0] if free else None
