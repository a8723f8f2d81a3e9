"""Registry of a worker's token pools, by tenant and token: made when needed, changed by a reload, forgotten when idle.

Thousands of tenants may be configured; only those that sign cost anything here.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from workers.lanes.supervisor.chunk_scheduler import initial_capacity
from workers.lanes.supervisor.hsm_sharing import SharedHsms
from workers.lanes.supervisor.lane_metrics import LaneMetrics
from workers.lanes.supervisor.pool_status import RegistryState
from workers.lanes.supervisor.process_group import (
    RELOAD_TIMEOUT_S,
    CapacityListener,
    LaneRecorder,
    LaneServices,
    StopOrderSource,
)
from workers.lanes.supervisor.spawn import lane_spec, most_lanes, sessions_per_lane
from workers.lanes.supervisor.token_identities import TokenIdentities, unchanged_uses
from workers.lanes.supervisor.token_pool import TokenPool
from workers.state.drained_tokens import DrainWatch

if TYPE_CHECKING:
    from asyncio import TaskGroup
    from collections.abc import Iterator

    from workers.config.loading import Configuration
    from workers.config.tenants import Tenant
    from workers.state.drained_tokens import DrainedTokens
    from workers.state.refused_pins import RefusedPins
    from workers.telemetry.metrics import Metrics

log = logging.getLogger("sigmill.lanes")

SERVICE_RELOAD_S: Final = 10.0
"""Time for a lane to read the service's file again, which names every token of the host."""


class LaneRegistry:
    """Token pools of one worker."""

    def __init__(  # noqa: PLR0913 - what all lanes of a worker share
        self,
        configuration: Configuration,
        *,
        refused_pins: RefusedPins,
        drained: DrainedTokens,
        metrics: Metrics,
        recorder: LaneRecorder,
        capacity_listener: CapacityListener,
        stop_orders: StopOrderSource,
    ) -> None:
        self._configuration = configuration
        self._worker = configuration.service.worker  # of the start: a reload changes no [worker]
        self._refused_pins = refused_pins
        self._drains = DrainWatch(drained)
        self._metrics = metrics
        self._lane_metrics = LaneMetrics(metrics)
        self._recorder = recorder
        self._capacity_listener = capacity_listener
        self._stop_orders = stop_orders
        self._identities = TokenIdentities()
        self._services: LaneServices | None = None
        self._pools: dict[str, dict[str, TokenPool]] = {}
        self._hsms = SharedHsms()
        self._leaving: list[TokenPool] = []
        self._service_pool: TokenPool | None = None

    def start(self, tasks: TaskGroup) -> None:
        """Allow lanes to be started, as tasks of this group."""
        self._services = LaneServices(
            tasks=tasks,
            identities=self._identities,
            refused_pins=self._refused_pins,
            observer=self._lane_metrics,
            recorder=self._recorder,
            capacity_listener=self._capacity_listener,
            stop_orders=self._stop_orders,
        )
        self._read_drained_tokens()
        self._service_pool = self._make(self._configuration.service.service_key.token, None)

    @property
    def service_lanes(self) -> TokenPool | None:
        """Pool of the service's own token; None before the start."""
        return self._service_pool

    def of(self, tenant: str) -> dict[str, TokenPool]:
        """Pools of a tenant by token, made now if need be; none for a tenant that may not sign."""
        configured = self._configuration.tenants.get(tenant)
        if configured is None or configured.suspended:
            return {}
        pools = self._pools.setdefault(tenant, {})
        for token in configured.tokens - pools.keys():
            pools[token] = self._make(token, tenant)
        return pools

    def capacity_of(self, tenant: str) -> int:
        """Number of digests of the tenant that could be started soon; makes no pool."""
        configured = self._configuration.tenants.get(tenant)
        if configured is None:
            return 0
        if configured.suspended or not configured.tokens:
            return initial_capacity(1)  # its jobs are claimed to be refused, so that they have a result
        pools = self._pools.get(tenant, {})
        return sum(
            pools[token].capacity()
            if token in pools
            else initial_capacity(sessions_per_lane(self._configuration.service.tokens[token]))
            for token in configured.tokens
            if token not in self._drains.names
        )

    def can_sign(self, tenant: str) -> bool:
        """Whether a token of the tenant is in use, or would be with the next job."""
        pools = self._pools.get(tenant)
        return not pools or any(pool.healthy for pool in pools.values())

    def unusable(self) -> dict[str, list[TokenPool]]:
        """Pools of the tenants for which no token is in use, by tenant."""
        return {
            tenant: [*pools.values()] for tenant, pools in self._pools.items() if not self.can_sign(tenant)
        }

    def all(self) -> Iterator[TokenPool]:
        """Every pool that was made and is not leaving."""
        for of_tenant in self._pools.values():
            yield from of_tenant.values()
        if self._service_pool is not None:
            yield self._service_pool

    @property
    def healthy(self) -> bool:
        """Whether at least one lane can sign, as far as is known: a token that had no job yet counts as good.

        The failure of one tenant's tokens is not that of this process, unless no other tenant has a token here.
        """
        tried = [
            (tenant, pool)
            for tenant, pools in self._pools.items()
            for pool in pools.values()
            if not pool.drained
        ]
        if any(not pool.status.in_doubt for _, pool in tried):
            return True
        failing = {tenant for tenant, _ in tried}
        if len(failing) > 1:
            return False
        return not (tried or self._drains.names) or self._others_have_tokens(failing)

    def _others_have_tokens(self, tenants: set[str]) -> bool:
        return any(
            name not in tenants and not tenant.suspended and tenant.tokens - self._drains.names
            for name, tenant in self._configuration.tenants.items()
        )

    def state(self) -> RegistryState:
        """Counts of the present moment."""
        drained = self._drains.names & self._configuration.service.tokens.keys()
        return RegistryState.of([(pool.token, pool.status) for pool in self.all()], drained)

    def tick(self) -> None:
        """Apply drains, close due circuit breakers, end overdue lanes; every ``workers.service.TICK_S`` (0.5 s)."""
        self._read_drained_tokens()
        for pool in [*self.all(), *self._leaving]:
            pool.tick()
        self._leaving = [pool for pool in self._leaving if not pool.status.gone]

    def _read_drained_tokens(self) -> None:
        """Apply the drains and resumes of operators."""
        changed = self._drains.read()
        drained = self._drains.names
        for token in changed & self._configuration.service.tokens.keys():
            log.warning("token.drained" if token in drained else "token.resumed", extra={"token": token})
            self._lane_metrics.token_drained(token, drained=token in drained)
        for pool in self.all() if changed else ():
            if pool.token in changed:
                pool.set_drained(drained=pool.token in drained)
        if changed - drained:
            self._capacity_listener.capacity_freed()

    def forget_idle(self, busy: set[str]) -> None:
        """Forget the tenants that have no lane and no work; ``busy`` are those with an active job."""
        for tenant in [t for t in self._pools if t not in busy]:
            if all(pool.status.idle for pool in self._pools[tenant].values()):
                for pool in self._pools.pop(tenant).values():
                    pool.share_hsm(None)

    def adopt(self, configuration: Configuration) -> None:
        """Change to this configuration: lanes read their files again, are replaced, or leave."""
        old, self._configuration = self._configuration, configuration
        self._identities.keep_only(unchanged_uses(old, configuration))
        for tenant, pools in self._pools.items():
            for pool in pools.values():
                pool.weight = self._weight(tenant)
        within_s = RELOAD_TIMEOUT_S if old.service is configuration.service else SERVICE_RELOAD_S
        for tenant, pools in list(self._pools.items()):
            self._adopt_tenant(configuration.tenants.get(tenant), tenant, pools, within_s)
        service = self._service_pool
        if service is not None:
            self._change(service, service.token, None, old)
            service.reload(SERVICE_RELOAD_S)
        for tenant, pools in self._pools.items():
            for token, pool in pools.items():
                self._change(pool, token, tenant, old)
                if configuration.service is not old.service:
                    self._share_hsm(pool, tenant)

    def apply_stop_orders(self, tenant: str) -> None:
        """Have the lanes of this tenant apply the stop orders in force."""
        for pool in self._pools.get(tenant, {}).values():
            pool.reload(files=False)

    def stop_orders_applied(self, tenant: str) -> bool:
        """Whether no lane of the tenant owes an answer to a reload."""
        return all(pool.status.reload_problems() is not None for pool in self._pools.get(tenant, {}).values())

    async def wait_reloaded(self, timeout_s: float) -> list[str]:
        """Wait until every lane has answered the reload, or was killed; returns the problems found in their files."""
        problems: list[str] = []
        try:
            async with asyncio.timeout(timeout_s):
                for pool in list(self.all()):
                    while (found := pool.status.reload_problems()) is None:  # noqa: ASYNC110 - many lanes, one answer
                        await asyncio.sleep(0.01)
                    problems += [f"{pool.token}: {problem}" for problem in found]
        except TimeoutError:
            problems.append("a lane did not answer")
        return problems

    def return_waiting(self) -> None:
        """Requeue the jobs of which no lane has anything."""
        for pool in self.all():
            pool.return_waiting(keep_begun=True)

    def kill(self) -> None:
        """Kill all lanes; what they had is requeued."""
        for pool in [*self.all(), *self._leaving]:
            pool.kill()

    async def close(self, within_s: float) -> None:
        """Stop all lanes, and kill what is left after ``within_s``. Raises an unexpected error of a token's lanes once all have ended."""
        pools = [*self.all(), *self._leaving]
        ends = await asyncio.gather(*(pool.close(within_s) for pool in pools), return_exceptions=True)
        for end in ends:
            if isinstance(end, BaseException):
                raise end

    def _adopt_tenant(
        self, configured: Tenant | None, tenant: str, pools: dict[str, TokenPool], within_s: float
    ) -> None:
        tokens = frozenset[str]() if configured is None or configured.suspended else configured.tokens
        for token in [token for token in pools if token not in tokens]:
            leaving = pools.pop(token)
            leaving.retire()  # first, so that what waited for its share of an HSM is not sent without it
            leaving.share_hsm(None)
            self._leaving.append(leaving)
        if not pools:
            del self._pools[tenant]
        for pool in pools.values():
            pool.reload(within_s)

    def _change(self, pool: TokenPool, token: str, tenant: str | None, old: Configuration) -> None:
        """Replace lanes whose token is another one now, or is used in another way."""
        if self._configuration.service.tokens[token] != old.service.tokens.get(token):
            service = self._configuration.service
            pool.change(lane_spec(service, token, tenant), most_lanes(service.tokens[token], tenant))

    def _make(self, token: str, tenant: str | None) -> TokenPool:
        if self._services is None:
            raise RuntimeError("the lane registry was not started")
        service = self._configuration.service
        pool = TokenPool(
            lane_spec(service, token, tenant),
            self._services,
            self._worker,
            most_lanes=most_lanes(service.tokens[token], tenant),
        )
        if token in self._drains.names:
            pool.set_drained(drained=True)
        self._metrics.watch_sessions(token, pool.status.sessions_busy)
        self._share_hsm(pool, tenant)
        return pool

    def _share_hsm(self, pool: TokenPool, tenant: str | None) -> None:
        """Have the token share its HSM. The service's own token does not: it signs a few directories."""
        if tenant is None:
            pool.share_hsm(None)
            return
        pool.weight = self._weight(tenant)
        pool.share_hsm(self._hsms.of(self._configuration.service, pool.token))

    def _weight(self, tenant: str) -> float:
        configured = self._configuration.tenants.get(tenant)
        return 1.0 if configured is None else configured.limits.weight
