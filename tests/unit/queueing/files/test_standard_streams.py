"""Standard streams that the caller has closed: no file of ours gets their descriptors."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from queueing.files import standard_streams

CHILD = """
import json, os, sys
from runpy import run_path
run_path(sys.argv[2])["open_standard_streams"]()
own = open(sys.argv[1], "w")
def fails(text):
    try:
        print(text, flush=True)
    except OSError:
        return True
    return False
names = [os.path.realpath(f"/proc/self/fd/{fd}") if os.path.exists(f"/proc/self/fd/{fd}") else None for fd in range(3)]
print("dropped", file=sys.stderr)
json.dump({"own": own.fileno(), "names": names, "stdin": sys.stdin and sys.stdin.read(), "fails": fails("x"),
           "inherited": [os.get_inheritable(fd) for fd in range(3)]}, own)
own.close()
os._exit(0)
"""


def child(closed: str, answers: Path) -> dict[str, Any]:
    """Answers of a process that opens its streams, then a file of its own."""
    command = [sys.executable, "-I", "-S", "-c", CHILD, str(answers), standard_streams.__file__]
    subprocess.run(["sh", "-c", f'exec "$@" {closed}', "sh", *command], check=True)
    found: dict[str, Any] = json.loads(answers.read_bytes())
    return found


@pytest.mark.parametrize("closed", ["<&- >&- 2>&-", "<&- 2>&- >/dev/full"], ids=["all", "the-first-and-last"])
def test_a_file_never_gets_the_descriptor_of_a_closed_stream(closed: str, tmp_path: Path) -> None:
    """A closed stdin is empty, a closed stdout fails when it is written, and a closed stderr drops what it gets; children have all three."""
    found = child(closed, tmp_path / "answers")
    assert found["own"] > 2
    assert (found["names"][0], found["names"][2]) == ("/dev/null", "/dev/null")
    assert found["names"][1] == ("/dev/full" if "/dev/full" in closed else "/dev/null")
    assert (found["stdin"], found["fails"], found["inherited"]) == ("", True, [True, True, True])
