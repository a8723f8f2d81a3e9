"""The sealer's process at the end of its worker: told to stop, and awaited for a bounded time."""

from __future__ import annotations

import logging
import subprocess
from typing import cast

import pytest
from prometheus_client import CollectorRegistry

from tests.support.fakes.configurations import configuration
from workers.background.record.sealer_process import SealerProcess
from workers.current_config import CurrentConfig
from workers.telemetry.metrics import Metrics


class Child:
    """Child process that ends after so many looks at it; never with None."""

    pid = 17

    def __init__(self, ends_after: int | None) -> None:
        self._left = ends_after
        self.told = False

    def poll(self) -> int | None:
        if self._left is None or not self.told:
            return None
        self._left -= 1
        return 0 if self._left < 0 else None

    def terminate(self) -> None:
        self.told = True


def sealer_with(child: Child | None) -> SealerProcess:
    sealer = SealerProcess(CurrentConfig(configuration()), Metrics(CollectorRegistry()))
    sealer._process = cast("subprocess.Popen[bytes] | None", child)
    return sealer


async def test_a_sealer_is_told_to_stop_and_awaited(caplog: pytest.LogCaptureFixture) -> None:
    child = Child(ends_after=2)
    await sealer_with(child).close(60.0)
    assert (child.told, child.poll(), caplog.messages) == (True, 0, [])


async def test_a_sealer_that_does_not_end_in_time_is_left_to_the_kernel(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nothing of it is lost: the next start seals what is left."""
    child = Child(ends_after=None)
    with caplog.at_level(logging.WARNING):
        await sealer_with(child).close(0.0)
    assert child.told
    assert caplog.messages == ["record.sealer_left"]


async def test_without_a_sealer_nothing_is_awaited() -> None:
    """It could not be started, or the worker was told to stop before that."""
    await sealer_with(None).close(0.0)
