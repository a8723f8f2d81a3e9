"""A SoftHSM with one key of each kind, made once, and a way to run a case against it in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from queueing.protocol.algorithms import KeyKind
from tests.support.hsm.softhsm import SoftHsm, SoftToken

ROOT = Path(__file__).resolve().parents[3]
CASES = Path(__file__).with_name("cases.py")
CHILD_TIMEOUT_S = 90.0

Result = dict[str, Any]


def run_case(
    hsm: SoftHsm, name: str, *, environment: Mapping[str, str] | None = None, **arguments: object
) -> Result:
    """Run one case of ``cases.py``; a child that dies fails the test with its code and its last words."""
    words = [sys.executable, str(CASES), name, json.dumps({"path": str(hsm.module_path), **arguments})]
    env = {**hsm.environ(), "PYTHONPATH": str(ROOT), **(environment or {})}
    done = subprocess.run(
        words, env=env, cwd=ROOT, check=False, capture_output=True, text=True, timeout=CHILD_TIMEOUT_S
    )
    assert done.returncode == 0, f"the child ended with {done.returncode}: {done.stderr[-2000:]}"
    result: Result = json.loads(done.stdout)
    return result


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """A token with keys: ``made`` is what creating them returned."""

    hsm: SoftHsm
    token: SoftToken
    made: Result

    def spki(self, label: str) -> str:
        return str(self.made["records"][label]["spki"])

    def run(self, name: str, **arguments: Any) -> Result:
        return run_case(self.hsm, name, token=self.token.label, pin=self.token.pin, **arguments)


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """One key of each kind, labelled by it, and ``other``, a second P-256 key. Only to be read."""
    hsm = SoftHsm(tmp_path_factory.mktemp("hsm") / "softhsm")
    token = hsm.init_token("tenant-a")
    labels = {**{str(kind): str(kind) for kind in KeyKind}, "other": str(KeyKind.P256)}
    made = run_case(hsm, "create_keys", token=token.label, pin=token.pin, labels=labels)
    return Keys(hsm=hsm, token=token, made=made)


@pytest.fixture
def fresh(softhsm: SoftHsm) -> Keys:
    """An empty token of the test's own."""
    return Keys(hsm=softhsm, token=softhsm.init_token("fresh"), made={"records": {}})
