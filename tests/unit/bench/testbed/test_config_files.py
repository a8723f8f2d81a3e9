"""Settings of a testbed's worker."""

from __future__ import annotations

import tomllib
from dataclasses import replace

import msgspec
import pytest

from bench.testbed.config_files import CANARY_S_OF_CANNED, BenchTenant, SimTimes, worker_table
from queueing.protocol.algorithms import KeyKind
from workers.config.settings import WorkerSettings

REAL = BenchTenant(name="real", kind=KeyKind.P256)


@pytest.mark.parametrize("others", [(), (REAL,)], ids=["alone", "beside a real token"])
def test_no_canary_meets_canned_answers(others: tuple[BenchTenant, ...]) -> None:
    """It would find that they are no signatures, and end the lane in the middle of a row of a minute."""
    canned = replace(REAL, name="canned", simulated=SimTimes(sign_us=1000))
    table = tomllib.loads(worker_table([*others, canned]))["worker"]
    assert msgspec.convert(table, WorkerSettings).canary_s == CANARY_S_OF_CANNED


def test_devices_that_sign_have_the_canaries_of_the_shipped_configuration() -> None:
    """Their cost is part of what is measured."""
    remembered = replace(REAL, name="remembered", simulated=SimTimes(sign_us=1000, repeats=True))
    assert worker_table([REAL, remembered]) == ""
