"""Rule of the tree: files are opened by ``queueing.files.regular_file``, which waits for no pipe and reads no device."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.house.plain_reads import plain_reads
from tests.house.sources import sources_of, tree_of

ROOT = Path(__file__).parents[2]
MAY_BE_A_PIPE = {
    "queueing/agent/certificates.py": 1,
    "queueing/agent/openpgp/gpg.py": 2,
    "queueing/agent/openpgp/gpg_messages.py": 2,
    "workers/cli/tools/agent_options.py": 1,
}
"""Named by the person who runs the command, as ``--pgp release=<(…)``, and what ``sigmill run`` has written for its own child."""

CHECKED_BEFORE = {
    "workers/cli/signing/hashing.py": 1,
    "workers/cli/signing/manifest.py": 1,
    "workers/cli/tools/java_provider.py": 1,
    "workers/cli/tools/openssl_settings.py": 1,
}
"""Opened after a look at its kind; a person's own file, which another kind of file does not replace meanwhile."""

OF_THE_SYSTEM = {
    "queueing/files/standard_streams.py": 1,
    "queueing/unix_time.py": 1,
    "workers/cli/shell/output.py": 1,
    "workers/doctor/host.py": 1,
    "workers/doctor/server_package.py": 1,
    "workers/hsm/native/build.py": 1,
    "workers/support/collectors.py": 1,
}
"""``/proc``, ``/dev/null``, and a file of this package."""


def test_only_regular_files_are_read() -> None:
    """A pipe in the place of a file would stop a worker for ever, and a huge file would fill its memory; ``sigmill dev`` has files of its own."""
    found = {
        str(file.relative_to(ROOT)): len(lines)
        for file in sources_of(ROOT, ["queueing", "workers"])
        if ROOT / "workers" / "dev" not in file.parents and (lines := plain_reads(tree_of(file)))
    }
    assert found == {**MAY_BE_A_PIPE, **CHECKED_BEFORE, **OF_THE_SYSTEM}


@pytest.mark.parametrize(
    "line",
    [
        "file.read_bytes()",
        "(folder / name).read_text('utf-8')",
        "open(file)",
        "open(file, 'rb')",
        "io.open(file, mode='r')",
        "file.open('rb')",
        "file.open(encoding='utf-8')",
        "os.open(file, os.O_RDONLY | os.O_CREAT)",
        "os.open(file, os.O_WRONLY | extra)",
    ],
)
def test_a_plain_read_is_found_however_it_is_written(line: str) -> None:
    """By methods of a path, the builtin, and open(2)."""
    assert plain_reads(ast.parse(line)) == [1]


@pytest.mark.parametrize(
    "line",
    [
        "read_regular(file, largest_bytes=1)",
        "io.open(file, 'rb', opener=regular)",
        "open(file, 'wb')",
        "file.open('ab')",
        "sessions.open()",
        "token.open(rw=True)",
        "opener.open(request, timeout=1)",
        "os.open(file, os.O_RDWR | os.O_CREAT)",
        "_NEW = os.O_WRONLY | os.O_EXCL; os.open(file, _NEW | extra)",
    ],
)
def test_what_waits_for_nothing_is_no_plain_read(line: str) -> None:
    """Opened for both directions, made, or no file."""
    assert plain_reads(ast.parse(line)) == []
