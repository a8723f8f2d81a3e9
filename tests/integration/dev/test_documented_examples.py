"""What the pages show is run: commands that they say are run by a test, and the README's Python."""

from __future__ import annotations

import ast
import os
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from queueing import Signature, SigningClient
from tests.support.cluster import Cluster
from tests.support.rig import MakeRig
from tests.support.sigmill_cli import sigmill

ROOT = Path(__file__).parents[3]
EXECUTED = re.compile(r"<!-- executed by a test -->\n```console\n(.*?)```", re.DOTALL)
PYTHON = re.compile(r"```python\n(.*?)```", re.DOTALL)
COMMANDS = [
    line.removeprefix("$ ")
    for page in sorted(ROOT.glob("docs/*.md"))
    for block in EXECUTED.findall(page.read_text())
    for line in block.splitlines()
]


def test_there_is_something_to_run() -> None:
    assert len(COMMANDS) > 5


def test_the_commands_of_the_pages_do_what_they_say(make_rig: MakeRig) -> None:
    """On a running cluster with a tenant acme: done, and something is said."""
    rig = make_rig()
    port = rig.start_worker().port
    config = rig.config(port=port)
    for command in COMMANDS:
        program, *words = shlex.split(command)
        assert program == "sigmill"
        done = sigmill(*words, config=config)
        assert done.code == 0, f"{command}: {done.err}"
        assert done.out or done.err, command


async def test_the_readmes_python_signs(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it stands, where client.toml is."""
    (example,) = PYTHON.findall((ROOT / "README.md").read_text())
    monkeypatch.chdir(cluster.rig.directory / "clients" / "acme")
    names: dict[str, Any] = {
        "digest": os.urandom(32),
        "digests": [os.urandom(32) for _ in range(5)],
        "__name__": "example",
    }
    code = compile(example, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    await eval(code, names)  # noqa: S307 - the README's own words
    assert isinstance(names["signature"], Signature)
    assert isinstance(names["outcome"], Signature)
    assert [type(outcome) for outcome in names["outcomes"]] == [Signature] * 5
    assert names["SigningClient"] is SigningClient
