"""Commands whose own children hold the output open: no read outlives its time."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from queueing.child_group import read_output, run_in_group
from queueing.client.identity import token_sources
from queueing.client.identity.settings import IdentitySettings
from queueing.client.identity.token_sources import source_of
from queueing.errors import IdentityUnavailable
from tests.support.rig.processes import has_ended
from tests.support.waiting import until, until_async

HANG_S = 60.0


class Commands:
    """Shell commands that start a child, which holds the output, and write its process id."""

    def __init__(self, folder: Path) -> None:
        self.marker = folder / "pid"

    def words(self, ending: str, *, own_session: bool = False) -> tuple[str, ...]:
        child = "setsid sleep 600" if own_session else "sleep 600"
        written = f"echo $! > {self.marker}.new; mv {self.marker}.new {self.marker}"
        return ("sh", "-c", f"{child} & {written}; echo head.claims.signature; {ending}")

    @property
    def child(self) -> int:
        return int(self.marker.read_text())

    def identity(self, words: tuple[str, ...], timeout_s: float) -> IdentitySettings:
        return IdentitySettings(platform="command", command=words, command_timeout_s=timeout_s)


@pytest.fixture
def commands(tmp_path: Path) -> Iterator[Commands]:
    made = Commands(tmp_path)
    yield made
    if made.marker.exists() and not has_ended(made.child):
        os.kill(made.child, signal.SIGKILL)


@pytest.fixture
def time_ends_once_the_child_runs(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of a command is over a moment after its child was started, however busy the machine is."""

    def read_shortly(process: subprocess.Popen[bytes], **bounds: Any) -> tuple[bytes | None, bytes]:
        until(commands.marker.exists, "the child runs")
        return read_output(process, **bounds | {"timeout_s": 0.05})

    def communicate(process: subprocess.Popen[bytes], timeout: float) -> NoReturn:
        until(commands.marker.exists, "the child runs")
        raise subprocess.TimeoutExpired(process.args, timeout)

    monkeypatch.setattr(token_sources, "read_output", read_shortly)
    monkeypatch.setattr(subprocess.Popen, "communicate", communicate)


@pytest.mark.usefixtures("time_ends_once_the_child_runs")
async def test_a_command_whose_child_leaves_its_session_does_not_outlive_its_time(commands: Commands) -> None:
    """A daemon that holds the output is out of reach: the client goes on without it."""
    with pytest.raises(IdentityUnavailable, match="holds its output"):
        await source_of(commands.identity(commands.words("exit 0", own_session=True), 30.0)).token()
    assert not has_ended(commands.child)


@pytest.mark.usefixtures("time_ends_once_the_child_runs")
async def test_what_a_command_started_ends_with_it_at_its_time_out(commands: Commands) -> None:
    """The command itself hangs, and its child holds the output."""
    with pytest.raises(IdentityUnavailable, match="takes longer than 30 s"):
        await source_of(commands.identity(commands.words("wait"), 30.0)).token()
    await until_async(lambda: has_ended(commands.child), "the child has ended")


async def test_a_command_ends_when_no_caller_waits_for_it(commands: Commands) -> None:
    """A build that is cancelled does not wait for the command's time, which may be minutes."""
    asked = asyncio.create_task(source_of(commands.identity(commands.words("wait"), 300.0)).token())
    await until_async(commands.marker.exists, "the command runs")
    asked.cancel()
    await asyncio.wait([asked])
    assert asked.cancelled()
    await until_async(lambda: has_ended(commands.child), "the child has ended")


async def test_a_command_that_has_ended_may_leave_a_child(commands: Commands) -> None:
    """Such as the daemon of a cache, with an output of its own."""
    words = commands.words("exit 0")
    quiet = (*words[:2], words[2].replace("sleep 600 &", "sleep 600 > /dev/null &"))
    assert await source_of(commands.identity(quiet, HANG_S)).token() == "head.claims.signature"
    assert not has_ended(commands.child)


@pytest.mark.usefixtures("time_ends_once_the_child_runs")
def test_a_part_of_a_bundle_that_takes_too_long_leaves_no_process(commands: Commands) -> None:
    """Such as the process in which a command has loaded a vendor's module, with a login."""
    with pytest.raises(subprocess.TimeoutExpired):
        run_in_group(commands.words("wait"), timeout_s=30.0)
    until(lambda: has_ended(commands.child), "the child has ended")


def test_a_command_in_a_group_gives_output_and_exit_code() -> None:
    """Both outputs, whole."""
    program = "import sys; print('x' * 200_000); print('said', file=sys.stderr); sys.exit(3)"
    done = run_in_group([sys.executable, "-c", program], timeout_s=HANG_S)
    assert (len(done.stdout), done.stderr, done.returncode) == (200_001, b"said\n", 3)
