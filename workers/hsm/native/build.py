"""Compilation of ``sign_run.c`` into the folder that it lies in.

    python -m workers.hsm.native.build

Imports nothing else of this repository: the build of the wheel runs it before anything is installed.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent
SOURCE: Final = FOLDER / "sign_run.c"
FLAGS: Final = (
    "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-nostdlib", "-fvisibility=hidden",
    "-fno-stack-protector",
    "-Wl,-z,relro,-z,now",
)  # fmt: skip
COMPILE_TIMEOUT_S: Final = 60.0


class CompilerMissing(Exception):
    """No C compiler on PATH, and CC names none."""


class CompileFailed(Exception):
    """The compiler refused; the message is its own."""


def library_file() -> Path:
    """Path of the library of this source, by these flags, for this processor, whether it is there or not.

    A changed source has another name, so that an old library is never loaded by mistake.
    """
    made_of = SOURCE.read_bytes() + "\0".join(FLAGS).encode()
    return FOLDER / f"sign_run-{hashlib.sha256(made_of).hexdigest()[:12]}-{platform.machine()}.so"


def compile_library() -> Path:
    """Path of the library, compiled if it is not there. Libraries of other sources stay, and are not loaded.

    Processes may compile at the same time: the last rename wins, and all are equal. Raises ``CompilerMissing``,
    ``CompileFailed``, or ``OSError`` where the folder cannot be written.
    """
    target = library_file()
    if target.exists():
        return target
    compiler = shlex.split(os.environ.get("CC", "cc"))
    if not compiler or shutil.which(compiler[0]) is None:
        raise CompilerMissing(f"no C compiler: {' '.join(compiler)!r} is not on PATH")
    with tempfile.TemporaryDirectory(dir=FOLDER) as scratch:
        output = Path(scratch) / "out.so"
        words = [*compiler, *FLAGS, str(SOURCE), "-o", str(output)]
        try:
            done = subprocess.run(
                words, check=False, capture_output=True, text=True, timeout=COMPILE_TIMEOUT_S
            )
        except subprocess.TimeoutExpired:
            raise CompileFailed(f"{shlex.join(words)}: no end within {COMPILE_TIMEOUT_S:.0f} s") from None
        if done.returncode != 0:
            raise CompileFailed(f"{shlex.join(words)}\n{done.stderr}")
        output.chmod(0o755)  # lanes may run as another user, whatever this one's umask
        output.replace(target)
    return target


if __name__ == "__main__":
    try:
        compile_library()
    except (CompilerMissing, CompileFailed, OSError) as error:
        sys.exit(f"error: {error}")
