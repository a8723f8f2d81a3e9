"""Compile the benchmark's C programs once for each version of their source."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from queueing.files.folders import entries

SOURCE_DIRECTORY: Final = Path(__file__).parent
BUILD_DIRECTORY: Final = Path("build/native")  # relative to the directory that make runs in
COMPILE_TIMEOUT_S: Final = 120.0
COMMON_FLAGS: Final = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-pthread")
SHARED_FLAGS: Final = ("-shared", "-fPIC", "-fvisibility=hidden", "-Wl,-Bsymbolic")


class CompilerMissing(RuntimeError):
    """No C compiler on PATH, and CC names none."""


class CompileFailed(RuntimeError):
    """The compiler refused; the message is its own."""


def compile_sources(
    name: str,
    sources: Sequence[Path],
    flags: Sequence[str] = (),
    *,
    build_directory: Path = BUILD_DIRECTORY,
) -> Path:
    """The absolute path of the program ``name`` made of ``sources``, compiled if it is not there yet.

    The file name carries a hash of compiler, flags, sources and the headers beside them, so a change makes a
    new file and an old one is never run by mistake. Processes may compile at the same time: the last rename
    wins, and all are equal. Raises ``CompilerMissing`` or ``CompileFailed``.
    """
    compiler = _compiler()
    command = [*compiler, *COMMON_FLAGS, *flags]
    target = build_directory.resolve() / f"{name}-{_fingerprint(command, sources)}"
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        output = Path(scratch) / "out"
        words = [*command, *map(str, sources), "-o", str(output), "-ldl"]
        done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=COMPILE_TIMEOUT_S)
        if done.returncode != 0:
            raise CompileFailed(f"{shlex.join(words)}\n{done.stderr}")
        output.replace(target)
    return target


def build_signloop(build_directory: Path = BUILD_DIRECTORY) -> Path:
    """The ceiling loop, an executable."""
    return compile_sources("signloop", [SOURCE_DIRECTORY / "signloop.c"], build_directory=build_directory)


def build_simhsm(build_directory: Path = BUILD_DIRECTORY) -> Path:
    """The simulated network HSM, a shared object."""
    sources = [
        SOURCE_DIRECTORY / f"{part}.c"
        for part in ("simhsm", "simhsm_faults", "simhsm_canned", "simhsm_primes", "simhsm_repeats")
    ]
    return compile_sources("simhsm.so", sources, SHARED_FLAGS, build_directory=build_directory)


def _compiler() -> list[str]:
    """The words of the compiler: CC as make reads it, else cc."""
    words = shlex.split(os.environ.get("CC", "")) or ["cc"]
    if shutil.which(words[0]) is None:
        raise CompilerMissing(
            f"no C compiler: {words[0]} is not on PATH; install gcc (Debian: gcc libc6-dev)"
        )
    return words


def _fingerprint(command: Sequence[str], sources: Sequence[Path]) -> str:
    digest = hashlib.sha256("\0".join(command).encode())
    headers = sorted({header for source in sources for header in entries(source.parent, suffix=".h")})
    for path in [*sources, *headers]:
        digest.update(b"\0" + path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]
