"""Evidence of a vendor about a key: the output of a configured command, within bounds of time and size."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
from typing import TYPE_CHECKING, Final

from queueing.child_group import end_with_group, read_output
from queueing.errors import ConfigError
from workers.patience import telling

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TIMEOUT_S: Final = 120.0
"""An HSM signs a chain of attestations in seconds; a program that asks at a terminal would wait for ever."""

LARGEST_BYTES: Final = 1024 * 1024
_HELD: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_evidence(
    token: str, command: tuple[str, ...], environment: Mapping[str, str], *, timeout_s: float = TIMEOUT_S
) -> bytes:
    """Output of the command, as it is. Raises ``ConfigError`` for one that fails, hangs or prints too much or nothing.

    The command and its process group end with this call. Its standard input is empty.
    """
    process: subprocess.Popen[bytes] | None = None
    try:
        with _signals_held():
            process = _started(token, command, environment)
        with telling(f"the evidence command of token `{token}`, for {timeout_s:g} s at most"):
            output, said = read_output(process, timeout_s=timeout_s, most_bytes=LARGEST_BYTES)
    finally:
        if process is not None:
            end_with_group(process)
    code = process.returncode
    if output is None:
        raise _failed(
            token,
            command,
            f"did not end within {timeout_s:g} s, or a program that it started holds its output",
        )
    if len(output) > LARGEST_BYTES:
        raise _failed(token, command, f"printed more than {LARGEST_BYTES // 1024} kB")
    if code != 0:
        last = said.decode(errors="replace").strip().splitlines()[-1:]
        ended = f"ended with {code}" if code > 0 else f"was ended by signal {-code}"
        raise _failed(token, command, ended + "".join(f": {line:.200}" for line in last))
    if not output:
        raise _failed(token, command, "printed nothing")
    return output


def _started(token: str, command: tuple[str, ...], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            command,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise _failed(token, command, f"cannot be started ({error.strerror})") from error


@contextlib.contextmanager
def _signals_held() -> Iterator[None]:
    """Run handlers of signals after the block: the process that it starts may run before the caller knows of it.

    Signals without such a handler (ignored, or fatal) are not touched. Handlers run in the main thread: another thread holds none.
    """
    came: list[int] = []
    handlers = {number: signal.getsignal(number) for number in _HELD}
    held = {number: handler for number, handler in handlers.items() if callable(handler)}
    if threading.current_thread() is not threading.main_thread():
        held = {}
    for number in held:
        signal.signal(number, lambda received, _: came.append(received))
    try:
        yield
    finally:
        for number, handler in held.items():
            signal.signal(number, handler)
        for received in came:
            signal.raise_signal(received)


def check_evidence_command(token: str, command: tuple[str, ...], environment: Mapping[str, str]) -> None:
    """Raise ``ConfigError`` for a command that is not there, or is no program: it is seen before a key is made."""
    if shutil.which(command[0], path=environment.get("PATH", os.defpath)) is None:
        raise _failed(token, command, "cannot be started (there is no such file, or it may not be executed)")


def _failed(token: str, command: tuple[str, ...], why: str) -> ConfigError:
    return ConfigError(
        f"[tokens.{token}]",
        "evidence",
        f"`{command[0]}` {why}",
        "Run the command by hand, and correct `evidence`.",
    )
