"""Output of a command that runs in a process group of its own: read within bounds of time and size, and ended with its group.

A command's own child may hold its output open, even from another session, which no signal to the group reaches: so every read has
the time that is left, and none waits for the end of the output alone.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Sequence
from typing import Final

_SAID_BYTES: Final = 4096
_PIECE_BYTES: Final = 65_536

_LEAST_WAIT_S: Final = 0.1
"""For the exit code of a command whose output ended in the last moment."""


def read_output(
    process: subprocess.Popen[bytes], *, timeout_s: float, most_bytes: int
) -> tuple[bytes | None, bytes]:
    """Output of a process with pipes, and the last words on its stderr, if that is one.

    With the first byte too many, what has been read; None where the end of the output, or of the process, did not come in time. Ends
    nothing. Blocks.
    """
    deadline_s = time.monotonic() + timeout_s
    output, said = bytearray(), b""
    with selectors.DefaultSelector() as selector:
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                selector.register(stream, selectors.EVENT_READ)
        while selector.get_map():
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                return None, said
            for key, _ in selector.select(left_s):
                piece = os.read(key.fd, _PIECE_BYTES)
                if not piece:
                    selector.unregister(key.fileobj)
                elif key.fileobj is process.stdout:
                    output += piece
                else:
                    said = (said + piece)[-_SAID_BYTES:]
            if len(output) > most_bytes:
                return bytes(output), said
    try:
        process.wait(max(deadline_s - time.monotonic(), _LEAST_WAIT_S))
    except subprocess.TimeoutExpired:
        return None, said
    return bytes(output), said


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill the process with all that it started but what left its session, unless they have ended; ``start_new_session`` made its group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def end_with_group(process: subprocess.Popen[bytes]) -> None:
    """Kill the process with its group, close its pipes and collect its exit code."""
    kill_group(process)
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()
    process.wait()


def run_in_group(words: Sequence[str], *, timeout_s: float) -> subprocess.CompletedProcess[bytes]:
    """Run a command to its end, with its output captured; at the time-out, or any other exception, all that it started ends with it.

    Raises ``subprocess.TimeoutExpired`` and ``OSError``.
    """
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    try:
        output, said = process.communicate(timeout=timeout_s)
    except BaseException:
        end_with_group(process)
        raise
    return subprocess.CompletedProcess(words, process.returncode, output, said)
