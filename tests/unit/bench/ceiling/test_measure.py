"""The grid of ceiling probes, without a module."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.ceiling.measure import QUICK_DRIVES, CeilingSession, _median, _result, drives
from bench.ceiling.probe import INPUTS, Drive, Loop, Round, Target
from bench.native.build import CompilerMissing, build_signloop
from queueing.protocol.algorithms import KeyKind


def test_the_grid_is_loops_by_threads_by_processes() -> None:
    """By default C and Python, 1, 2 and 4 threads, 1 and 2 processes."""
    grid = drives()
    assert len(grid) == len(set(grid)) == 2 * 3 * 2
    assert {(drive.threads, drive.processes) for drive in grid if drive.loop is Loop.PYTHON} == {
        (t, p) for t in (1, 2, 4) for p in (1, 2)
    }


def test_the_quick_drives_are_part_of_the_grid() -> None:
    """Quick looks at fewer places, not at others."""
    assert set(QUICK_DRIVES) <= set(drives())


@pytest.mark.parametrize(
    "kind, expected",
    [
        ("RSA_4096", ("rsa", 51)),
        ("P256", ("ecdsa", 32)),
        ("P384", ("ecdsa", 48)),
        ("P521", ("ecdsa", 64)),
        ("ED25519", ("eddsa", 32)),
    ],
)
def test_each_kind_of_key_signs_a_digest_of_its_own(kind: str, expected: tuple[str, int]) -> None:
    """RSA signs a DigestInfo of SHA-256, the others the digest itself; each kind has an input."""
    assert INPUTS[KeyKind(kind)] == expected
    assert set(INPUTS) == set(KeyKind)


def test_a_result_is_the_median_and_all_of_the_cpu() -> None:
    """One disturbed round does not move the rate; CPU is per signature over all rounds."""
    rounds = [Round(signatures=100, seconds=1.0, rate_per_s=rate, cpu_s=0.5) for rate in (100.0, 10.0, 102.0)]
    found = _result(Drive(loop=Loop.C, threads=1, processes=1), rounds)
    assert (found.median_per_s, found.best_per_s, found.rounds) == (100.0, 102.0, 3)
    assert found.cpu_us_per_signature == pytest.approx(5000.0)
    assert _median([]) == 0.0


def test_no_compiler_is_said_clearly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names what to install, before anything was measured."""
    monkeypatch.setenv("CC", "sigmill-no-such-compiler")
    with pytest.raises(CompilerMissing, match="install gcc"):
        build_signloop(tmp_path)
    target = Target(
        module=tmp_path / "m.so", token="t", key="k", kind=KeyKind.P256, pin_file=tmp_path / "pin"
    )
    with pytest.raises(CompilerMissing):
        CeilingSession(target, build_directory=tmp_path)
