"""Modules that the process with the PIN loads."""

from __future__ import annotations

import subprocess
import sys


def test_a_lane_loads_no_redis_client_and_no_queue() -> None:
    """The lane exchanges frames only; a Redis client would be more code in the process with the PIN."""
    code = "import sys, workers.lanes.process.lane; print([m for m in ('redis', 'arq', 'prometheus_client') if m in sys.modules])"
    said = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"
