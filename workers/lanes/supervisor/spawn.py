"""Start of a lane as a child of the worker, or connection to a host-started lane."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from workers.telemetry.child_output import ChildOutput
from workers.telemetry.log_writer import STDERR

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter
    from asyncio.subprocess import Process
    from collections.abc import Collection, Iterable
    from pathlib import Path

    from workers.config.service_file import ServiceConfiguration
    from workers.config.settings import TokenSettings

_PASSED_ON: Final = ("LANG", "LC_ALL", "TZ", "PATH", "CREDENTIALS_DIRECTORY")
"""Variables that a lane inherits from the worker's environment; the last is a path that its PIN file may begin with."""

START_TIMEOUT_S: Final = 60.0
"""From the start of a lane to its login, behind other lanes that start; the login has its own limit."""

EXIT_GRACE_S: Final = 2.0
"""A lane that has hung up is about to exit, and its exit code gives the reason."""

KILL_GRACE_S: Final = 3.0
"""A killed process exits at once, unless a driver or a disk holds it in the kernel (state D)."""

_READ_LIMIT_BYTES: Final = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneSpec:
    """Specification of a lane: ``tenant`` None is the service's own token; ``cpu`` None leaves it to the kernel."""

    file: Path
    token: str
    tenant: str | None
    settings: TokenSettings
    sessions: int
    cpu: int | None = None
    state_dir: Path | None = None


def lane_spec(service: ServiceConfiguration, token: str, tenant: str | None) -> LaneSpec:
    """Specification of a lane of this token, as the service's file has it."""
    settings = service.tokens[token]
    return LaneSpec(
        file=service.file,
        token=token,
        tenant=tenant,
        settings=settings,
        sessions=1 if tenant is None else sessions_per_lane(settings),
        state_dir=service.state_dir,
    )


def ready_timeout_s(spec: LaneSpec) -> float:
    """Time from the start of a lane until it must be logged in; it may wait for one login of another lane of its token."""
    return START_TIMEOUT_S + 2 * spec.settings.login_timeout_s


def cpu_for_lane(most_lanes: int, allowed: Collection[int], taken: Iterable[int | None]) -> int | None:
    """CPU of the next lane; None leaves it to the kernel. Pure.

    A token with a lane for each CPU has each on its own: the interpreter's lock is then never handed from one
    CPU to another (a fifth of the CPU time per signature on a network HSM, 4 % with SoftHSM's RSA). With fewer
    or more lanes than CPUs a pinned lane could wait while a CPU is idle.
    """
    if most_lanes != len(allowed) or most_lanes < 2:
        return None
    free = sorted(set(allowed) - {cpu for cpu in taken if cpu is not None})
    return free[0] if free else None


def lanes_for(settings: TokenSettings) -> int:
    """Number of lanes that a tenant's token may have: one that is host-started, or as many as CPUs, if there are sessions for them.

    Short operations scale by processes.
    """
    if settings.socket:
        return 1
    return settings.lanes or max(1, min(len(os.sched_getaffinity(0)), settings.sessions))


def most_lanes(settings: TokenSettings, tenant: str | None) -> int:
    """Number of lanes that a token may have; the service's own (``tenant`` None) has one."""
    return 1 if tenant is None else lanes_for(settings)


def sessions_per_lane(settings: TokenSettings) -> int:
    """Number of sessions of each lane of a tenant's token: all of them divided among its lanes, rounded up."""
    return -(-settings.sessions // lanes_for(settings))


@dataclass(frozen=True, slots=True)
class LaneStream:
    """Stream to a lane, and its process with its stderr where it is a child."""

    reader: StreamReader
    writer: StreamWriter
    process: Process | None
    output: ChildOutput | None = None

    def kill(self) -> None:
        """Kill the lane (a child), or hang up (a host-started lane, which exits then)."""
        self.writer.close()
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
        self._finish_output()

    async def ended(self) -> int | None:
        """Wait for the exit code of a child, which is killed if it does not exit soon; None for a host-started lane.

        A killed process that the kernel holds counts as exited: with SIGKILL pending it runs no code of its
        own again (signal(7)), so its chunks may be signed by another lane.
        """
        if self.process is None:
            self.writer.close()
            return None
        with suppress(TimeoutError):
            async with asyncio.timeout(EXIT_GRACE_S):
                code = await self.process.wait()
                self._finish_output()
                return code
        self.kill()
        with suppress(TimeoutError):
            async with asyncio.timeout(KILL_GRACE_S):
                return await self.process.wait()
        return -signal.SIGKILL

    def _finish_output(self) -> None:
        if self.output is not None:
            self.output.finish()


async def spawn_or_connect(spec: LaneSpec) -> LaneStream:
    """Start the lane of this spec, or connect to it if it is host-started; ``OSError`` when that fails."""
    if spec.settings.socket is not None:
        reader, writer = await asyncio.open_unix_connection(spec.settings.socket, limit=_READ_LIMIT_BYTES)
        return LaneStream(reader, writer, None)
    return await _spawn(spec)


def _environment(settings: TokenSettings) -> dict[str, str]:
    """Environment of a lane: the token's own variables must be set before the dynamic loader reads them."""
    return {name: os.environ[name] for name in _PASSED_ON if name in os.environ} | settings.environment


async def _spawn(spec: LaneSpec) -> LaneStream:
    """Start by exec, never a plain fork: the worker has no PKCS#11 module, and the lane nothing of the worker's memory.

    The module's words on stderr come here; the lane's own log lines go where ours go.
    """
    with ExitStack() as ends, ExitStack() as unless_started:
        output = ChildOutput(spec.token)
        unless_started.callback(output.finish)
        ends.callback(output.started)
        log_descriptor = os.dup(STDERR)
        ends.callback(os.close, log_descriptor)
        ours, theirs = socket.socketpair()
        unless_started.callback(ours.close)
        ends.callback(theirs.close)
        arguments = ["--config", str(spec.file), "--token", spec.token, "--sessions", str(spec.sessions)]
        arguments += [
            "--fd",
            str(theirs.fileno()),
            "--log-fd",
            str(log_descriptor),
            "--parent",
            str(os.getpid()),
        ]
        arguments += [] if spec.tenant is None else ["--tenant", spec.tenant]
        arguments += [] if spec.cpu is None else ["--cpu", str(spec.cpu)]
        arguments += [] if spec.state_dir is None else ["--state-dir", str(spec.state_dir)]
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-m",
            "workers.lanes",
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=output.descriptor,
            pass_fds=[theirs.fileno(), log_descriptor],
            env=_environment(spec.settings),
            start_new_session=True,  # a terminal's Ctrl-C drains the worker, which then ends its lanes
        )
        unless_started.pop_all()
    try:
        ours.setblocking(False)
        reader, writer = await asyncio.open_unix_connection(sock=ours, limit=_READ_LIMIT_BYTES)
    except BaseException:  # no caller has this lane yet
        ours.close()
        with suppress(ProcessLookupError):
            process.kill()
        output.finish()
        await process.wait()
        raise
    return LaneStream(reader, writer, process, output)
