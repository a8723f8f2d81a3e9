"""A tenant's PIN is in its own lane and in no other process: memory, environment, arguments, open files."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.rig.process_memory import holds
from tests.support.rig.processes import GONE, descendants, open_files
from tests.support.rig.shared_rig import SharedRig
from workers.hsm.process_hardening import harden

NOBODY = 65534
PR_SET_DUMPABLE = 4  # linux/prctl.h

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root may read another process' memory")


async def test_a_pin_is_in_its_own_lane_and_nowhere_else(shared_rig: SharedRig) -> None:
    """While all tenants sign; the scan does find what is there: each lane knows its own configuration file."""
    for tenant in ("acme", "globex", "initech"):
        async with shared_rig.rig.client(tenant) as client:
            await client.sign("release", os.urandom(32), algorithm="ECDSA_SHA_256", timeout_s=60)
    pins = {name: token.pin.encode() for name, token in shared_rig.rig.tokens.items()}
    pin_files = {name: f"{name}.pin" for name in pins}
    lanes = shared_rig.worker.lanes()
    assert lanes.keys() >= {"acme", "globex", "initech", "service"}
    control = {"control": str(shared_rig.rig.directory).encode()}
    for token, pids in lanes.items():
        for pid in pids:
            assert holds(pid, control) == {"control"}
            assert holds(pid, pins) <= {token}, f"lane of {token}"
            others = [file for name, file in pin_files.items() if name != token]
            assert not [link for link in open_files(pid) if any(file in link for file in others)]
            assert not [link for link in open_files(pid) if "/tokens/" in link and f"/{token}/" not in link]
    assert holds(shared_rig.worker.pid, control | pins) == {"control"}, "the worker"
    lane_pids = {pid for pids in lanes.values() for pid in pids}
    for pid in {*descendants(shared_rig.worker.pid)} - lane_pids:
        with contextlib.suppress(*GONE):  # a child that has ended
            held = holds(pid, pins)
            started_since = {token for token, pids in shared_rig.worker.lanes().items() if pid in pids}
            assert held <= started_since, "a process of the worker"


def as_nobody(work: Callable[[], bool]) -> int:
    """Fork, become nobody, traceable by nobody's other processes, and do the work: the exit code says whether."""
    pid = os.fork()
    if pid:
        return pid
    code = 2
    try:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
        code = 0 if work() else 1
    finally:
        os._exit(code)


def can_read_memory(pid: int) -> bool:
    try:
        Path(f"/proc/{pid}/mem").open("rb").close()
        Path(f"/proc/{pid}/environ").read_bytes()
    except PermissionError:
        return False
    return True


@pytest.mark.parametrize("hardened", [True, False])
def test_a_process_of_the_same_user_cannot_look_into_a_hardened_one(hardened: bool) -> None:
    """The worker's user can read an unhardened process (control) and not a hardened one."""
    ready_r, ready_w = os.pipe()

    def be_a_lane() -> bool:
        if hardened:
            harden()
        os.write(ready_w, b".")
        time.sleep(30)
        return True

    lane = as_nobody(be_a_lane)
    try:
        os.read(ready_r, 1)
        _, status = os.waitpid(as_nobody(lambda: can_read_memory(lane)), 0)
    finally:
        os.kill(lane, signal.SIGKILL)
        os.waitpid(lane, 0)
        os.close(ready_r)
        os.close(ready_w)
    assert os.waitstatus_to_exitcode(status) == (1 if hardened else 0)
