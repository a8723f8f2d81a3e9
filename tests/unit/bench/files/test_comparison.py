"""Shares are against the ceiling beside each round, and only sides by the agent have its CPU."""

from __future__ import annotations

import pytest

from bench.capacity.hsm_rates import MODELS, hsm_rate
from bench.files.comparison import SIGN_FILE, _comparison, _Course, _Surroundings, in_words
from bench.files.device import KIND, Device
from bench.files.sides import SignedFiles
from bench.measurement.machine import BusynessReading

BUSY = BusynessReading(seconds=10.0, own_share=0.5, other_share=0.25, steal_share=0.0)


AZURE = Device(hsm_rate(MODELS["azure-managed-hsm"], KIND))


def around(device: Device) -> _Surroundings:
    return _Surroundings(
        device=device, ceiling_cpu_ms=12.0, agent_peak_bytes=50 << 20, load=(1.0, 2.0), busy=BUSY
    )


def course(*per_s: float, share: float = 0.5) -> _Course:
    return _Course(
        rounds=[SignedFiles(files=100, seconds=100 / each, cpu_s=2.0) for each in per_s],
        ceilings_per_s=[each / share for each in per_s],
        agent_cpu_s=[0.3] * len(per_s),
        lane_cpu_s=[1.6] * len(per_s),
        service_cpu_s=[0.1] * len(per_s),
    )


def test_rows_are_medians_against_the_ceiling_beside_them() -> None:
    """A machine that slows down slows both."""
    courses = {"osslsigncode with SoftHSM directly": course(10, 20, 50), "through the agent": course(8, 8, 8)}
    found = _comparison(courses, 100, 3, around(Device()))
    direct, agent = found.rows
    assert (direct.files_per_s, direct.share_of_ceiling, direct.cpu_ms_per_file) == pytest.approx(
        (20, 0.5, 20)
    )
    assert direct.agent_cpu_ms_per_file is None
    assert agent.agent_cpu_ms_per_file == pytest.approx(3)
    assert (agent.lane_cpu_ms_per_file, agent.service_cpu_ms_per_file) == pytest.approx((16, 1))
    assert (direct.share_by_cpu, agent.share_by_cpu) == pytest.approx((12 / 37, 12 / 40))
    text = "\n".join(in_words(found))
    assert "50 MiB" in text
    assert "others 25%" in text
    assert found.ok
    assert not found.thresholds, "on the cores that also hash, no share is asked for"


@pytest.mark.parametrize("share,ok", [(0.85, True), (0.84, False), (1.2, False)])
def test_a_device_that_is_elsewhere_has_a_threshold(share: float, ok: bool) -> None:
    """A share that no module can give is not believed either. Its CPU is not on these cores: no share by CPU is told."""
    found = _comparison({SIGN_FILE: course(300, share=share)}, 100, 1, around(AZURE))
    assert found.ok is ok
    assert found.rows[0].share_by_cpu is None
    text = "\n".join(in_words(found))
    assert "a simulated azure-managed-hsm alone" in text
    assert ("MISSED" not in text) is ok
    assert "by CPU" not in text


def test_a_run_without_sign_file_misses_the_threshold() -> None:
    """Not measured is not met."""
    found = _comparison({"through the agent": course(300)}, 100, 1, around(AZURE))
    assert not found.ok
    assert "not measured" in in_words(found)[-1]
