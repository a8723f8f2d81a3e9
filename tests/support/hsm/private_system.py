"""A system of a test's own within this one: mounts, IPC and processes that nobody else sees, and that end with it.

For software whose paths are fixed (opencryptoki, p11-kit's configuration): the machine's own are never touched.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_NAMESPACES = ("--mount", "--ipc", "--pid", "--fork", "--mount-proc")
READY_TIMEOUT_S = 60.0


@contextmanager
def private_system(script: str, *arguments: str) -> Iterator[tuple[str, ...]]:
    """Run a shell script in namespaces of its own; yields the words that run a command there. Its children end with it.

    The script's words are ``$1``...; without root or these namespaces the test is skipped.
    """
    whole = f"set -e\n{script}\necho ready\nexec cat >&2"  # until our end of the pipe is closed
    words = [*_words(), "sh", "-c", whole, "sh", *arguments]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        said = next((line for line in process.stdout if line == "ready\n"), None)
        assert said is not None, "the script ended before it was ready; see the captured stderr"
        (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        yield ("nsenter", f"--target={child}", "--mount", "--ipc", "--pid", "--root")
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait(READY_TIMEOUT_S)


@functools.cache
def _words() -> tuple[str, ...]:
    """``unshare`` and its words; in a chroot the propagation of mounts cannot be changed, and need not be where it is private."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("a private system needs root and unshare(1)")
    shared = any("shared:" in line for line in Path("/proc/self/mountinfo").read_text().splitlines())
    for words in (("unshare",), *(() if shared else (("unshare", "--propagation", "unchanged"),))):
        tried = subprocess.run([*words, *_NAMESPACES, "true"], check=False, capture_output=True)
        if tried.returncode == 0:
            return (*words, *_NAMESPACES)
    return pytest.skip("mount, IPC and process namespaces are forbidden here")
