"""The checker is worth something: on stock arq it finds what stock arq is known for."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from tests.faults.harness.harness import Harness
from tests.faults.harness.observed_rig import Setup
from tests.faults.stock.stock import TENANT, Stock
from tests.support.farm.farm import digests
from tests.support.waiting import PATIENCE_S

SLOW_US = 400_000


async def test_sigterm_signs_twice(tmp_path: Path) -> None:
    """A thread cannot be cancelled: the HSM signs for the worker that ends and for the next one."""
    with Harness.open(tmp_path / "harness", Setup(sign_us=SLOW_US)) as harness:
        async with Stock.on(harness) as stock:
            stock.start_worker(1)
            await stock.enqueue(digests(4))
            await stock.until_running(4)
            await stock.ended(1, stop=True)
            stock.start_worker(2)
            await stock.read_all()
            assert stock.verdict().rules == {"I4 signed too often"}


@pytest.mark.slow
async def test_a_zombie_changes_results(tmp_path: Path) -> None:
    """It wakes after its lock has run out, and overwrites what a client has read."""
    with Harness.open(tmp_path / "harness", Setup(sign_us=SLOW_US)) as harness:
        async with Stock.on(harness) as stock:
            stock.start_worker(1)
            await stock.enqueue(digests(4))
            await stock.until_running(4)
            zombie = stock.workers[1].pid
            os.kill(zombie, signal.SIGSTOP)
            stock.start_worker(2)
            await stock.read_all()
            os.kill(zombie, signal.SIGCONT)
            deadline = time.monotonic() + PATIENCE_S
            while "I3 outcome changed" not in stock.verdict().rules:
                assert time.monotonic() < deadline, "what was read stays as it was"
                await asyncio.sleep(0.2)
                await stock.read()


@pytest.mark.slow
async def test_a_poison_job_takes_its_neighbours_along(tmp_path: Path) -> None:
    """Attempts are counted at the start: who ran beside it ends with 'max retries', though nobody tried it alone."""
    given = digests(4)
    with Harness.open(tmp_path / "harness", Setup(sign_us=SLOW_US)) as harness:
        harness.rules(TENANT, f"C_Sign exit=5 tail={given[-1].hex()}")
        async with Stock.on(harness) as stock:
            await stock.enqueue(given)
            for number in range(1, 6):
                await stock.unlock()
                stock.start_worker(number)
                await stock.ended(number)
            stock.start_worker(6)
            await stock.unlock()
            await stock.read_all()
            verdict = stock.verdict()
    failed = {v.why for v in verdict.violations if v.rule == "I1 accepted job failed"}
    assert failed == {f"stock-{i}: max-retries" for i in range(4)}
