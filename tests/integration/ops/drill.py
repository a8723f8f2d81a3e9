"""Drill: a stack under load with injected faults, observed by a real Prometheus, and the alerts that fired."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count

from msgspec.structs import replace

from bench.hsm.simhsm import write_rules
from ops.generate.prometheus.clock import Clock
from queueing import ClientKey, SigningClient, SigningError
from tests.support.farm.farm import digests
from tests.support.monitoring.prometheus import Firing, Prometheus
from tests.support.rig.rig import Rig, WorkerProcess, client_block

CLOCK = Clock(60.0)
"""Clock of the drill: an hour takes a minute."""

BROKEN, FLOODING, WELL = "acme", "globex", "initech"
FLOODERS = 6
PATIENCE_S = 60.0

P256_COST = 0.15
FLOODING_LIMITS = f"""
[limits]
rate_per_s = {150 * P256_COST}
backlog_digests = 300
digests_per_day = 10_000_000
"""
EXPIRES = "expires = 2099-01-01T00:00:00Z\n"


@dataclass(slots=True)
class Story:
    """Alerts that fired before the faults, during each fault, and after each recovery."""

    before: set[Firing] = field(default_factory=set)
    hsm_broken: set[Firing] = field(default_factory=set)
    canary_failing: set[Firing] = field(default_factory=set)
    flooding: set[Firing] = field(default_factory=set)
    repaired: set[Firing] = field(default_factory=set)
    redis_away: set[Firing] = field(default_factory=set)
    redis_back: set[Firing] = field(default_factory=set)
    at_the_end: set[Firing] = field(default_factory=set)
    took_s: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Drill:
    """Runs the drill on a rig with these three tenants; the module of ``BROKEN`` takes fault rules."""

    rig: Rig
    worker: WorkerProcess
    prometheus: Prometheus
    revoked: ClientKey
    story: Story = field(default_factory=Story)
    salt: count[int] = field(default_factory=count)

    async def play(self) -> Story:
        """Run the drill, under load from beginning to end; it takes about a minute."""
        async with self._load(self._sign(BROKEN), self._sign(WELL), self._be_refused()):
            await self._begin()
            await self._break_the_hsm_and_flood()
            await self._restart_redis()
        return self.story

    async def _begin(self) -> None:
        signing = "min(sum by (tenant) (rate(sigmill_signatures_total[2s]))) > 0"
        await self._until(lambda: self.prometheus.value(signing) > 0, "all sign")
        await self._until(lambda: not self._symptoms(), "nothing fires")
        self.story.before = self._symptoms()
        os.kill(self.worker.pid, signal.SIGHUP)

    def _symptoms(self) -> set[Firing]:
        """Firing symptom alerts, without burn rates: on a slow machine jobs are late for hours of this clock."""
        return {alert for alert in self.prometheus.firing() if "BudgetBurn" not in alert.name}

    async def _break_the_hsm_and_flood(self) -> None:
        faults = self.rig.directory / f"{BROKEN}.faults"
        async with self._load(*(self._flood() for _ in range(FLOODERS))):
            write_rules(faults, ["C_Sign rv=0xE0", "C_OpenSession rv=0xE0"])  # the token is not there
            fires = self.prometheus.fires
            await self._until(lambda: fires("SigmillCircuitOpen"), "the broken token is told")
            self.story.hsm_broken = self.prometheus.firing()
            await self._until(lambda: fires("SigmillTenantThrottled"), "the flooding tenant is told")
            self.story.flooding = self.prometheus.firing()
            await self._until(lambda: fires("SigmillCanaryFailing"), "the canary misses the token")
            self.story.canary_failing = self.prometheus.firing()
            write_rules(faults, [])
        await self._until(
            lambda: (
                not any(map(fires, ("SigmillCircuitOpen", "SigmillTenantThrottled", "SigmillCanaryFailing")))
            ),
            "all that is over",
        )
        self.story.repaired = self.prometheus.firing()

    async def _restart_redis(self) -> None:
        fires = self.prometheus.fires
        self.rig.redis.kill()
        await self._until(lambda: fires("SigmillRedisDown"), "Redis' absence is told")
        self.story.redis_away = self.prometheus.firing()
        self.rig.redis.start()
        await self._until(
            lambda: fires("SigmillRedisRestarted") and not fires("SigmillRedisDown"),
            "it is back, and that is told",
        )
        await self._until(lambda: not fires("SigmillNoWorkerReady"), "the worker has found it")
        self.story.redis_back = self.prometheus.firing()
        await self._until(lambda: not self._symptoms(), "all is well again")
        self.story.at_the_end = self._symptoms()

    async def _until(self, question: Callable[[], bool], what: str) -> None:
        """Wait until the question is true; a thread evaluates it, so that the load's event loop keeps running."""
        now_s = asyncio.get_running_loop().time
        began_s = now_s()
        while not await asyncio.to_thread(question):
            if now_s() - began_s > PATIENCE_S:
                fired = sorted(alert.name for alert in await asyncio.to_thread(self.prometheus.firing))
                raise AssertionError(f"not in time: {what}; firing: {fired}")
            await asyncio.sleep(0.2)
        self.story.took_s[what] = round(now_s() - began_s, 1)

    @asynccontextmanager
    async def _load(self, *loads: object) -> AsyncIterator[None]:
        tasks = [asyncio.ensure_future(load) for load in loads]  # type: ignore[call-overload]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ended), ended

    async def _sign(self, tenant: str) -> None:
        """Sign continuously, and continue after errors."""
        async with self.rig.client(tenant) as client:
            while True:
                try:
                    some = digests(64, salt=f"{tenant}{next(self.salt)}")
                    async for _ in client.sign_many("release", some, timeout_s=5):
                        pass
                except SigningError:
                    pass
                await asyncio.sleep(0.05)

    async def _flood(self) -> None:
        async with self.rig.client(FLOODING) as client:
            while True:
                try:
                    async with asyncio.timeout(2):
                        await client.submit("release", digests(200, salt=f"flood{next(self.salt)}"))
                except (SigningError, TimeoutError):
                    pass

    async def _be_refused(self) -> None:
        """Submit continuously with a revoked client key."""
        config = replace(self.rig.client_config(WELL), client="revoked")
        async with SigningClient(config, self.revoked) as client:
            while True:
                with suppress(SigningError):
                    await client.sign("release", digests(1, salt=f"no{next(self.salt)}")[0], timeout_s=5)
                await asyncio.sleep(0.3)


def more_of_tenants(revoked: ClientKey) -> dict[str, str]:
    """Additions to the tenants' files: an expiring version, limits for the flood, a revoked client."""
    return {
        BROKEN: EXPIRES,
        FLOODING: FLOODING_LIMITS,
        WELL: client_block("revoked", revoked, state="revoked"),
    }


__all__ = ["BROKEN", "CLOCK", "FLOODING", "WELL", "Drill", "Story", "more_of_tenants"]
