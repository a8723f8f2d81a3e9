"""The ceiling on SoftHSM: both loops sign with every kind of key, alternate, verify, and fail loudly."""

from __future__ import annotations

import dataclasses
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bench.ceiling import probe as module
from bench.ceiling.measure import CeilingSession, measure_ceiling
from bench.ceiling.probe import CeilingProbe, Drive, Loop, ProbeFailed
from bench.measurement.cpu import CpuMeter, cpu_between
from bench.native.build import CompileFailed, build_signloop, compile_sources
from queueing.protocol.algorithms import KeyKind

if TYPE_CHECKING:
    from tests.integration.bench.conftest import BenchToken

SHORT_S = 0.1


@pytest.mark.parametrize("loop", list(Loop))
@pytest.mark.parametrize("kind", [KeyKind.RSA_2048, KeyKind.P256, KeyKind.P384, KeyKind.ED25519])
def test_both_loops_sign_and_verify_with_every_kind(
    loop: Loop, kind: KeyKind, bench_token: BenchToken, native_build: Path
) -> None:
    """Two threads, each signature checked with the public key. The rate is the sum of theirs, each over its own time."""
    drive = Drive(loop=loop, threads=2, processes=1, verify=True)
    with CeilingProbe(bench_token.target(kind), drive, build_directory=native_build) as probe:
        found = probe.round(SHORT_S)
    assert found.signatures >= 2
    assert found.signatures / found.seconds <= found.rate_per_s * 1.001
    assert found.rate_per_s <= found.signatures / SHORT_S * 1.001
    assert found.cpu_s > 0


def test_a_probe_idles_between_rounds(bench_token: BenchToken, native_build: Path) -> None:
    """Open probes do not disturb what is measured between their rounds."""
    drive = Drive(loop=Loop.PYTHON, threads=4, processes=2)
    with CeilingProbe(bench_token.target(KeyKind.P256), drive, build_directory=native_build) as probe:
        meter = CpuMeter({"lane": probe.pids})
        probe.round(SHORT_S)
        before = meter.snapshot()
        with CeilingProbe(
            bench_token.target(KeyKind.P256),
            dataclasses.replace(drive, loop=Loop.C),
            build_directory=native_build,
        ) as other:
            other.round(0.3)
        assert cpu_between(before, meter.snapshot())["lane"] <= 0.05


def noted(name: str, call: Callable[..., Any], calls: list[tuple[str, int]]) -> Callable[..., Any]:
    """The call, which is put down with the process that it is for."""

    def noting(process: subprocess.Popen[str], *arguments: object) -> Any:
        calls.append((name, process.pid))
        return call(process, *arguments)

    return noting


def test_processes_sign_at_the_same_time(
    bench_token: BenchToken, native_build: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of two processes, with a CPU of its own, is told to begin before the end of the other is waited for."""
    drive = Drive(loop=Loop.C, threads=1, processes=2, pinned=True)
    with CeilingProbe(bench_token.target(KeyKind.RSA_2048), drive, build_directory=native_build) as probe:
        assert len(set(probe.pids)) == 2
        calls: list[tuple[str, int]] = []
        for name in ("_say", "_hear"):
            monkeypatch.setattr(module, name, noted(name, getattr(module, name), calls))
        probe.round(SHORT_S)
        one, two = probe.pids
        assert calls == [("_say", one), ("_say", two), ("_hear", one), ("_hear", two)]
        cpus = [os.sched_getaffinity(pid) for pid in probe.pids]
    assert all(len(each) == 1 for each in cpus)


def test_a_session_alternates_and_narrows(bench_token: BenchToken, native_build: Path) -> None:
    """Every drive gets each round until only the best are kept; the ceiling is the best median."""
    grid = [
        Drive(loop=Loop.C, threads=1, processes=1),
        Drive(loop=Loop.PYTHON, threads=1, processes=1),
        Drive(loop=Loop.C, threads=1, processes=1, verify=True),
    ]
    with CeilingSession(bench_token.target(KeyKind.P256), grid, build_directory=native_build) as session:
        session.round(SHORT_S)
        session.keep_best(1)
        assert session.round(SHORT_S) > 0
        plain, verified = session.result(), session.result(verify=True)
    assert sum(probe.rounds for probe in plain.probes + verified.probes) == 4
    assert plain.per_s == max(probe.median_per_s for probe in plain.probes)
    assert [probe.verify for probe in verified.probes] == [True]


def test_a_ceiling_says_where_it_was_found(bench_token: BenchToken, native_build: Path) -> None:
    """The result names kind and drive."""
    drive = Drive(loop=Loop.C, threads=2, processes=1)
    found = measure_ceiling(
        bench_token.target(KeyKind.P256), [drive], rounds=1, seconds=SHORT_S, build_directory=native_build
    )
    assert (found.kind, found.at) == ("P256", "c 1 x 2")


@pytest.mark.parametrize("loop", list(Loop))
def test_a_loop_that_cannot_start_says_why(loop: Loop, bench_token: BenchToken, native_build: Path) -> None:
    """An unknown key is an error with the loop's own words, not a rate of 0."""
    target = dataclasses.replace(bench_token.target(KeyKind.P256), key="no such key")
    probe = CeilingProbe(target, Drive(loop=loop, threads=1, processes=1), build_directory=native_build)
    with pytest.raises(ProbeFailed, match=r"private keys with this label|NoSuchKey"), probe:
        pass


def test_a_module_that_fails_in_a_round_fails_the_round(
    bench_token: BenchToken, native_build: Path, tmp_path: Path
) -> None:
    """A rate is never made of signatures that were not made."""
    from bench.hsm.simhsm import SimHsm, write_rules
    from bench.native.build import build_simhsm

    faults = tmp_path / "faults"
    write_rules(faults, ["C_Sign rv=0x30 after=20"])
    device = SimHsm(real_module=bench_token.softhsm.module_path, faults_file=faults)
    target = bench_token.target(KeyKind.P256, build_simhsm(native_build), device.environment())
    drive = Drive(loop=Loop.C, threads=1, processes=1)
    with (
        CeilingProbe(target, drive, build_directory=native_build) as probe,
        pytest.raises(ProbeFailed, match="C_Sign"),
    ):
        probe.round(1.0)


def test_programs_are_compiled_once_for_each_version(tmp_path: Path) -> None:
    """The same content is the same file; other flags or another header are another one."""
    source = tmp_path / "p.c"
    source.write_text("int main(void) { return 7; }\n")
    first = compile_sources("p", [source], build_directory=tmp_path / "build")
    made = first.stat().st_mtime_ns
    assert compile_sources("p", [source], build_directory=tmp_path / "build") == first
    assert first.stat().st_mtime_ns == made
    assert compile_sources("p", [source], ["-DX=1"], build_directory=tmp_path / "build") != first
    (tmp_path / "h.h").write_text("/* new */\n")
    assert compile_sources("p", [source], build_directory=tmp_path / "build") != first
    assert {path.name.split("-")[0] for path in (tmp_path / "build").iterdir()} == {"p"}


def test_what_the_compiler_says_is_shown(tmp_path: Path) -> None:
    """A source that does not compile leaves nothing behind."""
    source = tmp_path / "p.c"
    source.write_text("int main(void) { return x; }\n")
    with pytest.raises(CompileFailed, match="undeclared"):
        compile_sources("p", [source], build_directory=tmp_path / "build")
    assert list((tmp_path / "build").iterdir()) == []


def test_our_own_programs_compile_without_a_warning(tmp_path: Path) -> None:
    """The programs of bench compile with -Werror."""
    from bench.native.build import SHARED_FLAGS, SOURCE_DIRECTORY

    sources = sorted(SOURCE_DIRECTORY.glob("simhsm*.c"))
    compile_sources("simhsm.so", sources, [*SHARED_FLAGS, "-Werror"], build_directory=tmp_path)
    compile_sources("signloop", [SOURCE_DIRECTORY / "signloop.c"], ["-Werror"], build_directory=tmp_path)
    assert build_signloop(tmp_path).exists()
