"""All lanes of a worker, by tenant and token: made when first needed, changed with the configuration, let go when idle.

Thousands of tenants may be configured; only those that sign cost anything here.
"""

from __future__ import annotations

import asyncio
import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from workers.lanes.supervisor.chunk_scheduler import initial_capacity
from workers.lanes.supervisor.circuit_breaker import Circuit
from workers.lanes.supervisor.hsm_sharing import SharedHsm
from workers.lanes.supervisor.lane_metrics import LaneMetrics
from workers.lanes.supervisor.process_group import RELOAD_TIMEOUT_S
from workers.lanes.supervisor.spawn import LaneSpec
from workers.lanes.supervisor.token_pool import TokenPool

if TYPE_CHECKING:
    from asyncio import TaskGroup
    from collections.abc import Callable, Iterator

    from workers.config.loading import Configuration
    from workers.config.settings import TokenSettings
    from workers.config.tenants import Tenant
    from workers.state.drained_tokens import DrainedTokens
    from workers.state.refused_pins import RefusedPins
    from workers.telemetry.metrics import Metrics

log = logging.getLogger("sigmill.lanes")

SERVICE_RELOAD_S: Final = 10.0
"""A lane may take this long over the service's file, which names every token of the host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryState:
    """All lanes that are logged in, and the tokens that are left alone, or drained."""

    lanes: int
    sessions: int
    circuits_open: tuple[str, ...]
    drained: tuple[str, ...]


class LaneRegistry:
    """The lanes of one worker. ``orders`` are the signed stop orders in force for a tenant."""

    def __init__(
        self,
        configuration: Configuration,
        *,
        refused_pins: RefusedPins,
        drained: DrainedTokens,
        metrics: Metrics,
        room: Callable[[], None],
        orders: Callable[[str], tuple[bytes, ...]],
    ) -> None:
        self._configuration = configuration
        self._refused_pins = refused_pins
        self._drains = drained
        self._drained: frozenset[str] = frozenset()
        self._metrics = metrics
        self._lane_metrics = LaneMetrics(metrics)
        self._room = room
        self._orders = orders
        self._tasks: TaskGroup | None = None
        self._lanes: dict[str, dict[str, TokenPool]] = {}
        self._hsms: dict[str, SharedHsm] = {}
        self._leaving: list[TokenPool] = []
        self._service_lanes: TokenPool | None = None

    def start(self, tasks: TaskGroup) -> None:
        """Lanes may be started from now on, as tasks of this group."""
        self._tasks = tasks
        self._look_for_drains()
        self._service_lanes = self._make(self._configuration.service.service_key.token, None)

    @property
    def service_lanes(self) -> TokenPool | None:
        """Those of the service's own token; None before the start."""
        return self._service_lanes

    def of(self, tenant: str) -> dict[str, TokenPool]:
        """The lanes of a tenant by token, made now if need be; none for a tenant that may not sign."""
        configured = self._configuration.tenants.get(tenant)
        if configured is None or configured.suspended:
            return {}
        lanes = self._lanes.setdefault(tenant, {})
        for token in configured.tokens - lanes.keys():
            lanes[token] = self._make(token, tenant)
        return lanes

    def room(self, tenant: str) -> int:
        """How many digests of the tenant could be started soon; makes nothing."""
        configured = self._configuration.tenants.get(tenant)
        if configured is None:
            return 0
        if configured.suspended or not configured.tokens:
            return initial_capacity(1)  # its jobs are refused here, and so they get an answer
        lanes = self._lanes.get(tenant, {})
        return sum(
            lanes[token].capacity() if token in lanes else initial_capacity(self._sessions(token))
            for token in configured.tokens
            if token not in self._drained
        )

    def can_sign(self, tenant: str) -> bool:
        """Whether a token of the tenant is in use, or would be with the next job."""
        lanes = self._lanes.get(tenant)
        return not lanes or any(each.healthy for each in lanes.values())

    def all(self) -> Iterator[TokenPool]:
        """Every one that was made and has not left."""
        for of_tenant in self._lanes.values():
            yield from of_tenant.values()
        if self._service_lanes is not None:
            yield self._service_lanes

    @property
    def healthy(self) -> bool:
        """Whether at least one lane can sign, as far as anybody knows: a token that nobody needed yet counts as good.

        The trouble of one tenant is not that of this process, unless no other tenant has a token here.
        """
        tried = [
            (tenant, each)
            for tenant, lanes in self._lanes.items()
            for each in lanes.values()
            if not each.drained
        ]
        if any(not each.in_doubt for _, each in tried):
            return True
        in_trouble = {tenant for tenant, _ in tried}
        if len(in_trouble) > 1:
            return False
        return not (tried or self._drained) or self._others_have_tokens(in_trouble)

    def _others_have_tokens(self, tenants: set[str]) -> bool:
        return any(
            name not in tenants and not tenant.suspended and tenant.tokens - self._drained
            for name, tenant in self._configuration.tenants.items()
        )

    def state(self) -> RegistryState:
        """As it is now."""
        everything = list(self.all())
        sessions = [count for lanes in everything for count in lanes.sessions_of_lanes()]
        return RegistryState(
            lanes=len(sessions),
            sessions=sum(sessions),
            circuits_open=tuple(
                sorted(lanes.token for lanes in everything if lanes.circuit is not Circuit.CLOSED)
            ),
            drained=tuple(sorted(self._drained & self._configuration.service.tokens.keys())),
        )

    def tick(self) -> None:
        """About once a second."""
        self._look_for_drains()
        for lanes in [*self.all(), *self._leaving]:
            lanes.tick()
        self._leaving = [lanes for lanes in self._leaving if not lanes.gone]

    def _look_for_drains(self) -> None:
        """An operator may have drained a token, or resumed one."""
        try:
            drained = self._drains.names()
        except OSError as error:
            log.error("token.drains_unreadable", extra={"why": str(error)})
            return
        changed, self._drained = drained ^ self._drained, drained
        for token in changed & self._configuration.service.tokens.keys():
            log.warning("token.drained" if token in drained else "token.resumed", extra={"token": token})
            self._lane_metrics.token_drained(token, drained=token in drained)
        for lanes in self.all() if changed else ():
            if lanes.token in changed:
                lanes.drain() if lanes.token in drained else lanes.resume()
        if changed - drained:
            self._room()

    def let_idle_go(self, busy: set[str]) -> None:
        """Forget the tenants that have no lane and no work; ``busy`` are those with a job in work."""
        for tenant in [t for t in self._lanes if t not in busy]:
            if all(lanes.idle for lanes in self._lanes[tenant].values()):
                for lanes in self._lanes.pop(tenant).values():
                    lanes.share_hsm(None, _equal)

    def adopt(self, configuration: Configuration) -> None:
        """Change to this configuration: lanes read their files again, are replaced, or leave."""
        old, self._configuration = self._configuration, configuration
        within_s = RELOAD_TIMEOUT_S if old.service is configuration.service else SERVICE_RELOAD_S
        for tenant, lanes in list(self._lanes.items()):
            self._adopt_tenant(configuration.tenants.get(tenant), tenant, lanes, within_s)
        service = self._service_lanes
        if service is not None:
            self._change(service, service.token, None, old)
            service.reload(SERVICE_RELOAD_S)
        for tenant, lanes in self._lanes.items():
            for token, each in lanes.items():
                self._change(each, token, tenant, old)
                if configuration.service is not old.service:
                    self._share_hsm(each, tenant)

    def obey(self, tenant: str) -> None:
        """The lanes of this tenant judge the orders in force."""
        for lanes in self._lanes.get(tenant, {}).values():
            lanes.obey()

    def obeyed(self, tenant: str) -> bool:
        """Whether no lane of the tenant owes an answer to a reload."""
        return all(lanes.reload_problems() is not None for lanes in self._lanes.get(tenant, {}).values())

    async def reloaded(self, timeout_s: float) -> list[str]:
        """Wait until every lane has obeyed, or was ended; what they found wrong with their files."""
        problems: list[str] = []
        try:
            async with asyncio.timeout(timeout_s):
                for lanes in list(self.all()):
                    while (found := lanes.reload_problems()) is None:  # noqa: ASYNC110 - many lanes, one answer
                        await asyncio.sleep(0.01)
                    problems += [f"{lanes.token}: {problem}" for problem in found]
        except TimeoutError:
            problems.append("a lane did not answer")
        return problems

    def return_waiting(self) -> None:
        """Jobs of which no lane has anything go back to the queue."""
        for lanes in self.all():
            lanes.return_waiting(keep_begun=True)

    def kill(self) -> None:
        """End all lanes now; what they had goes back to the queue."""
        for lanes in [*self.all(), *self._leaving]:
            lanes.kill()

    async def close(self, within_s: float) -> None:
        """End all lanes, at the latest after ``within_s``."""
        await asyncio.gather(*(lanes.close(within_s) for lanes in [*self.all(), *self._leaving]))

    def _adopt_tenant(
        self, configured: Tenant | None, tenant: str, lanes: dict[str, TokenPool], within_s: float
    ) -> None:
        tokens = frozenset[str]() if configured is None or configured.suspended else configured.tokens
        for token in [token for token in lanes if token not in tokens]:
            leaving = lanes.pop(token)
            leaving.retire()  # first, so that what waited for its part of a device is not sent without it
            leaving.share_hsm(None, _equal)
            self._leaving.append(leaving)
        if not lanes:
            del self._lanes[tenant]
        for each in lanes.values():
            each.reload(within_s)

    def _change(self, lanes: TokenPool, token: str, tenant: str | None, old: Configuration) -> None:
        """Replace lanes whose token is another one now, or is used in another way."""
        if self._configuration.service.tokens[token] != old.service.tokens.get(token):
            lanes.change(self._spec(token, tenant), self._most_lanes(token, tenant))

    def _make(self, token: str, tenant: str | None) -> TokenPool:
        if self._tasks is None:
            raise RuntimeError("the roster was not started")
        worker = self._configuration.service.worker
        lanes = TokenPool(
            self._spec(token, tenant),
            most_lanes=self._most_lanes(token, tenant),
            chunk_target_s=worker.chunk_target_s,
            idle_s=worker.lane_idle_s,
            poison_crashes=worker.poison_attempts,
            refused_pins=self._refused_pins,
            tasks=self._tasks,
            observer=self._lane_metrics,
            room=self._room,
            orders=lambda: () if tenant is None else self._orders(tenant),
        )
        if token in self._drained:
            lanes.drain()
        self._metrics.watch_sessions(token, lanes.sessions_busy)
        self._share_hsm(lanes, tenant)
        return lanes

    def _share_hsm(self, lanes: TokenPool, tenant: str | None) -> None:
        """The service's own token is not counted: it signs a few directories."""
        service = self._configuration.service
        name = service.tokens[lanes.token].hsm
        if tenant is None or name is None:
            lanes.share_hsm(None, _equal)
            return
        operations = service.hsms[name].parallel_operations
        budget = self._hsms.setdefault(name, SharedHsm(operations))
        budget.parallel_operations = operations
        lanes.share_hsm(budget, lambda: self._weight(tenant))

    def _weight(self, tenant: str) -> float:
        configured = self._configuration.tenants.get(tenant)
        return 1.0 if configured is None else configured.limits.weight

    def _spec(self, token: str, tenant: str | None) -> LaneSpec:
        service = self._configuration.service
        settings = service.tokens[token]
        return LaneSpec(
            file=service.file,
            token=token,
            tenant=tenant,
            settings=settings,
            sessions=1 if tenant is None else -(-settings.sessions // self._most_lanes(token, tenant)),
            state_dir=service.state_dir,
        )

    def _most_lanes(self, token: str, tenant: str | None) -> int:
        return 1 if tenant is None else most_lanes(self._configuration.service.tokens[token])

    def _sessions(self, token: str) -> int:
        settings = self._configuration.service.tokens[token]
        return -(-settings.sessions // most_lanes(settings))


def _equal() -> float:
    return 1.0


def most_lanes(settings: TokenSettings) -> int:
    """How many lanes a token may have: one of the host's, or as many as CPUs, if there are sessions for them.

    Short operations scale by processes (design, fact 10).
    """
    if settings.socket:
        return 1
    return settings.lanes or max(1, min(len(os.sched_getaffinity(0)), settings.sessions))
