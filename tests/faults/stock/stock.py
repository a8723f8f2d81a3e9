"""Stock arq on the same harness, seen by the same observers: the client, and the HSM's module."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Self

import msgspec
from arq.connections import ArqRedis, RedisSettings, create_pool
from arq.jobs import Job

from tests.faults.checker.check import CLIENT_AND_HSM_CHECKS, Verdict, check
from tests.faults.harness.harness import Harness
from tests.faults.harness.observed_rig import ROOT
from tests.faults.history import Answered, Invoked, Submitted, WorkerEnded
from workers.config.settings import PinLogin
from workers.dev.child_process import Child
from workers.hsm.encodings import ecdsa_der

TENANT = "acme"
WAIT_S = 60.0


@dataclass(slots=True)
class Stock:
    """Stock workers by number, and a stock producer."""

    harness: Harness
    pool: ArqRedis
    workers: dict[int, Child] = field(default_factory=dict)
    digests: dict[str, bytes] = field(default_factory=dict)

    @classmethod
    @contextlib.asynccontextmanager
    async def on(cls, harness: Harness) -> AsyncIterator[Self]:
        settings = RedisSettings(
            unix_socket_path=str(harness.place.first.socket_path), password=harness.place.first.password
        )
        pool = await create_pool(
            settings, job_serializer=msgspec.msgpack.encode, job_deserializer=msgspec.msgpack.decode
        )
        stock = cls(harness, pool)
        try:
            yield stock
        finally:
            await pool.aclose()
            for worker in stock.workers.values():
                worker.kill()

    def start_worker(self, number: int) -> None:
        rig = self.harness.rig
        settings = rig.wrap(rig.tokens[TENANT].settings)
        assert isinstance(settings.login, PinLogin)
        place = rig.place
        words = ["--socket", str(place.socket), "--password-file", str(place.password_file)]
        words += ["--module", settings.module, "--token", TENANT, "--key", f"{TENANT}.release.v1"]
        words += ["--pin-file", settings.login.pin_file]
        command = [sys.executable, "-m", "tests.faults.stock.stock_worker", *words]
        log = rig.directory / f"stock-{number}.log"
        environment = {**settings.environment, "PYTHONPATH": str(ROOT)}
        self.workers[number] = Child(f"stock-{number}", command, log, environment)

    async def ended(self, number: int, *, stop: bool = False) -> None:
        """SIGTERM it (``stop``), or see that it has ended by itself."""
        worker = self.workers.pop(number)
        if stop:
            worker.terminate()
        deadline = time.monotonic() + WAIT_S
        while worker.exit_code is None:
            assert time.monotonic() < deadline, worker.log_tail()
            await asyncio.sleep(0.02)
        orderly = stop  # stock arq ends with the signal that it was given
        self.harness.recorder.note(WorkerEnded(at=time.time(), worker=f"stock-{number}", orderly=orderly))
        self.harness.keeper.mend()

    async def enqueue(self, digests: Sequence[bytes]) -> None:
        for digest in digests:
            name = f"stock-{len(self.digests)}"
            self.digests[name] = digest
            self.harness.recorder.note(
                Invoked(
                    at=time.time(), client="stock", tenant=TENANT, job=name, algorithm="ECDSA_SHA_256",
                    digests=(digest,),
                )
            )  # fmt: skip
            await self.pool.enqueue_job("sign", digest, _job_id=name)
            self.harness.recorder.note(
                Submitted(at=time.time(), client="stock", tenant=TENANT, job=name, how="ok")
            )

    @property
    def signed(self) -> int:
        """Number of finished C_Sign calls of the module."""
        log = self.harness.rig.directory / f"{TENANT}.simhsm.log"
        return len(log.read_text().splitlines()) if log.exists() else 0

    async def until_running(self, jobs: int) -> None:
        """Wait until workers have locked so many jobs."""
        deadline = time.monotonic() + WAIT_S
        while len(await self.pool.keys("arq:in-progress:*")) < jobs:
            assert time.monotonic() < deadline, "stock arq has not begun its jobs"
            await asyncio.sleep(0.01)

    async def unlock(self) -> None:
        """Expire the locks of a stopped worker, as eleven seconds would."""
        locks = await self.pool.keys("arq:in-progress:*")
        if locks:
            await self.pool.delete(*locks)

    async def read(self) -> int:
        """Read every result that is there, as clients would; how many there are."""
        found = 0
        for name in self.digests:
            job = Job(name, self.pool, _deserializer=msgspec.msgpack.decode)
            info = await job.result_info()
            if info is None:
                continue
            found += 1
            good = info.success and isinstance(info.result, bytes)
            self.harness.recorder.note(
                Answered(
                    at=time.time(),
                    client="stock",
                    tenant=TENANT,
                    job=name,
                    how="ok" if good else "fail",
                    signatures=(ecdsa_der(info.result),) if good else (),
                    code="" if good else "max-retries",
                )
            )
        return found

    async def read_all(self) -> None:
        """Read until there is a result for each."""
        deadline = time.monotonic() + WAIT_S
        while await self.read() < len(self.digests):
            assert time.monotonic() < deadline, "stock arq has not ended its jobs"
            await asyncio.sleep(0.2)

    def verdict(self) -> Verdict:
        return check(self.harness.events(), CLIENT_AND_HSM_CHECKS)
