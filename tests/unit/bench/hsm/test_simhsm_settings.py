"""The simulated HSM's settings, rules and log, as Python sees them."""

from __future__ import annotations

import re
from pathlib import Path

from bench.hsm.simhsm import SignRecord, SimHsm, read_log, write_rules
from bench.native.build import SOURCE_DIRECTORY


def test_every_variable_is_one_that_the_module_reads(tmp_path: Path) -> None:
    """The names here and in the C source are the same set."""
    everything = SimHsm(
        real_module=tmp_path / "real.so",
        primes_file=tmp_path / "primes",
        faults_file=tmp_path / "faults",
        log=tmp_path / "log",
    ).environment()
    source = (SOURCE_DIRECTORY / "simhsm.c").read_text()
    assert set(everything) == set(re.findall(r'"(SIMHSM_[A-Z_]+)"', source))


def test_what_is_not_wanted_is_not_set(tmp_path: Path) -> None:
    """Without rules and log there is no file to look at."""
    plain = SimHsm(real_module=tmp_path / "real.so").environment()
    assert "SIMHSM_FAULTS_FILE" not in plain
    assert "SIMHSM_LOG" not in plain


def test_rules_replace_the_file_in_one_step(tmp_path: Path) -> None:
    """Another file is renamed to it. No scratch file stays, and an empty set empties the file."""
    path = tmp_path / "faults"
    write_rules(path, ["C_Sign rv=0x30 every=20", "C_Login rv=0xA0"])
    assert path.read_text() == "C_Sign rv=0x30 every=20\nC_Login rv=0xA0\n"
    first = path.stat().st_ino
    write_rules(path, [])
    assert path.read_text() == ""
    assert path.stat().st_ino != first
    assert list(tmp_path.iterdir()) == [path]


def test_log_lines_become_records(tmp_path: Path) -> None:
    """Success and failure, with and without bytes."""
    path = tmp_path / "log"
    path.write_text("12 3 0011223344556677 0x0 8899aabbccddeeff 1700000000000001\n12 4 ff 0x30 - 5\n")
    assert read_log(path) == [
        SignRecord(
            pid=12,
            session=3,
            input_tail=bytes.fromhex("0011223344556677"),
            rv=0,
            signature_head=bytes.fromhex("8899aabbccddeeff"),
            at_us=1_700_000_000_000_001,
        ),
        SignRecord(pid=12, session=4, input_tail=b"\xff", rv=0x30, signature_head=b"", at_us=5),
    ]


def test_no_log_yet_is_no_records(tmp_path: Path) -> None:
    """The module makes the file when it first signs."""
    assert read_log(tmp_path / "log") == []
