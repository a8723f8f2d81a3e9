"""Fault table over the manners of other modules: whatever a module's manners, its failures mean the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from bench.hsm.simhsm import SimHsm
from bench.native.build import build_simhsm
from queueing.protocol.algorithms import KeyKind
from tests.integration.hsm.conftest import ROOT, Keys
from tests.integration.hsm.fault_run import FaultRun
from tests.support.hsm.manners import SERVED, Manners
from workers.hsm.faults import FAULTS, NO_CODE, VENDOR_DEFINED

CALLS = ["C_SignInit", "C_SignLength", "C_Sign"]
CODES = sorted({row.code for row in FAULTS if row.code != NO_CODE} | {0x3FF, VENDOR_DEFINED + 0x123})
"""All that PKCS#11 names, and two that it does not."""

ONE_OF_EACH = [0x031, 0x030, 0x082, 0x032, 0x021, 0x0A0, VENDOR_DEFINED]
"""By action: retry, drop session, replace lane, open circuit, permanent, a PIN, a vendor's own."""

MANNERS = pytest.mark.parametrize("names", SERVED, ids=lambda names: "+".join(names) or "none")
TIMEOUT_S = 300.0


def disobeyed(keys: Keys, folder: Path, names: tuple[str, ...], kind: KeyKind, codes: list[int]) -> list[str]:
    """What did not follow the table, behind these manners."""
    device = SimHsm(real_module=keys.hsm.module_path, faults_file=folder / "faults")
    manners = Manners(names=names, real_module=build_simhsm())
    asked = FaultRun(
        module=str(manners.module),
        token=keys.token.label,
        pin=keys.token.pin,
        spki=keys.spki(kind),
        rules=str(folder / "faults"),
        calls=CALLS,
        codes=codes,
    )
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("fault_run.py")), msgspec.json.encode(asked).decode()],
        env={
            **keys.hsm.environ(),
            "PYTHONPATH": str(ROOT),
            **device.environment(),
            **manners.environment(),
        },
        check=False,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return msgspec.json.decode(done.stdout, type=list[str])


@MANNERS
def test_a_failure_is_reported_as_the_table_says_and_the_next_session_signs(
    keys: Keys, tmp_path: Path, names: tuple[str, ...]
) -> None:
    """One value of each action, from each call of a signature."""
    assert disobeyed(keys, tmp_path, names, KeyKind.P256, ONE_OF_EACH) == []


@pytest.mark.slow
@MANNERS
@pytest.mark.parametrize("kind", [KeyKind.RSA_2048, KeyKind.P256, KeyKind.ED25519])
def test_every_value_is_reported_as_the_table_says(
    keys: Keys, tmp_path: Path, names: tuple[str, ...], kind: KeyKind
) -> None:
    """All values of the standard, and others, with a key of each family."""
    assert disobeyed(keys, tmp_path, names, kind, CODES) == []
