"""A SoftHSM token with a key of each kind, and the benchmark's programs, made once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bench.ceiling.probe import Target
from bench.native.build import build_signloop, build_simhsm
from queueing.protocol.algorithms import KeyKind
from tests.support.hsm.softhsm import SoftHsm, SoftToken

KINDS = {  # RSA-2048 stands for the larger moduli, which take seconds to make
    KeyKind.RSA_2048: "rsa:2048",
    KeyKind.P256: "EC:prime256v1",
    KeyKind.P384: "EC:secp384r1",
    KeyKind.ED25519: "EC:edwards25519",
}
CHILD_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchToken:
    """A token whose keys are labelled by their kind."""

    softhsm: SoftHsm
    token: SoftToken
    pin_file: Path

    def target(
        self, kind: KeyKind, module: Path | None = None, environment: Mapping[str, str] | None = None
    ) -> Target:
        return Target(
            module=module or self.softhsm.module_path,
            token=self.token.label,
            key=str(kind),
            kind=kind,
            pin_file=self.pin_file,
            environment={**self.softhsm.env, **(environment or {})},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """Result of a process that had loaded the module: its answer, its exit code, its stderr."""

    answer: Any
    exit_code: int
    stderr: str


RunChild = Callable[..., Child]


@pytest.fixture(scope="session")
def bench_token(softhsm_session: SoftHsm, tmp_path_factory: pytest.TempPathFactory) -> BenchToken:
    """One token for all tests of the benchmark; they sign and leave it as it is."""
    token = softhsm_session.init_token("bench")
    for number, (kind, spelled) in enumerate(KINDS.items(), start=1):
        softhsm_session.generate_key(token, str(kind), spelled, key_id=f"{number:02x}")
    pin_file = tmp_path_factory.mktemp("pin") / "pin"
    pin_file.write_text(token.pin + "\n")
    return BenchToken(softhsm=softhsm_session, token=token, pin_file=pin_file)


@pytest.fixture(scope="session")
def native_build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build directory of the session's own, with both programs in it."""
    directory = tmp_path_factory.mktemp("native")
    build_signloop(directory)
    build_simhsm(directory)
    return directory


@pytest.fixture
def run_child(bench_token: BenchToken, native_build: Path) -> RunChild:
    """Run a Python snippet in a process that has the simulated HSM loaded with threads allowed.

    It finds ``token``, ``session``, ``keys`` (by kind), ``public``, ``sign(kind, data)``, ``pkcs11`` and
    ``answer``, which it fills.
    """

    def run(snippet: str, environment: Mapping[str, str]) -> Child:
        done = subprocess.run(
            [sys.executable, "-c", PREAMBLE + snippet + "\nprint('ANSWER', json.dumps(answer))"],
            env={
                **os.environ,
                **bench_token.softhsm.env,
                **environment,
                "TEST_MODULE": str(build_simhsm(native_build)),
                "TEST_KINDS": " ".join(KINDS),
                "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            },
            check=False,
            capture_output=True,
            text=True,
            timeout=CHILD_TIMEOUT_S,
        )
        last = done.stdout.rpartition("ANSWER ")[2]
        answer = json.loads(last) if done.returncode == 0 else None
        return Child(answer=answer, exit_code=done.returncode, stderr=done.stderr)

    return run


PREAMBLE = """
import json, os, time
from pathlib import Path
import pkcs11
from pkcs11 import KeyType, Mechanism, ObjectClass
from bench.ceiling.python_loop import initialise_with_locking

MECHANISMS = {KeyType.RSA: Mechanism.RSA_PKCS, KeyType.EC: Mechanism.ECDSA, KeyType.EC_EDWARDS: Mechanism.EDDSA}
TYPES = {"RSA": KeyType.RSA, "P25": KeyType.EC, "P38": KeyType.EC, "ED2": KeyType.EC_EDWARDS}
answer = {}
token = initialise_with_locking(Path(os.environ["TEST_MODULE"])).get_token(token_label="bench")
session = token.open(user_pin="1234")

def find(session, kind, what):
    return session.get_key(object_class=what, key_type=TYPES[kind[:3]], label=kind)

keys = {kind: find(session, kind, ObjectClass.PRIVATE_KEY) for kind in os.environ["TEST_KINDS"].split()}
public = {kind: find(session, kind, ObjectClass.PUBLIC_KEY) for kind in keys}

def sign(kind, data):
    return keys[kind].sign(data, mechanism=MECHANISMS[keys[kind].key_type])

def verify(kind, data, signature):
    return public[kind].verify(data, signature, mechanism=MECHANISMS[keys[kind].key_type])

def outcome(call):
    try:
        call()
    except pkcs11.PKCS11Error as exc:
        return type(exc).__name__
    return "ok"
"""
