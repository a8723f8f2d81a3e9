"""Garbage is collected less often in Sigmill's own processes, and as before in those of a library's callers."""

from __future__ import annotations

import subprocess
import sys

from queueing.garbage_collection import COLLECT_AFTER


def threshold_after(imports: str) -> int:
    code = f"import {imports}; import gc; print(gc.get_threshold()[0])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_the_process_of_a_command_collects_less_often() -> None:
    """Its entry sets it; nothing else has to."""
    assert threshold_after("workers.cli.__main__") == COLLECT_AFTER


def test_a_library_leaves_its_callers_setting_alone() -> None:
    """Neither the client nor the commands change it when they are imported."""
    assert threshold_after("queueing.client.signing_client, workers.cli.main") == threshold_after("sys")
