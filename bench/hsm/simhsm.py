"""The simulated network HSM from Python: its environment, its fault rules, its log.

What each setting does is written at the top of ``native/simhsm.c`` and ``native/simhsm_faults.c``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class SimHsm:
    """Behaviour of the simulated device. Times are whole call times in microseconds; ``slots`` is per process, 0: no bound.

    Give the result of ``native.build.build_simhsm`` to the lane as its module and ``environment()`` as the
    environment beside what the real module needs.
    """

    real_module: Path
    signinit_us: int = 0
    length_us: int = 0
    sign_us: int = 0
    slots: int = 0
    canned: bool = False
    primes_file: Path | None = None
    repeats: bool = False
    faults_file: Path | None = None
    log: Path | None = None

    def environment(self) -> dict[str, str]:
        """The variables that the module reads at its first call."""
        variables = {
            "SIMHSM_MODULE": str(self.real_module),
            "SIMHSM_SIGNINIT_US": str(self.signinit_us),
            "SIMHSM_LENGTH_US": str(self.length_us),
            "SIMHSM_SIGN_US": str(self.sign_us),
            "SIMHSM_SLOTS": str(self.slots),
            "SIMHSM_CANNED": str(int(self.canned)),
            "SIMHSM_REPEATS": str(int(self.repeats)),
        }
        if self.primes_file is not None:
            variables["SIMHSM_PRIMES_FILE"] = str(self.primes_file)
        if self.faults_file is not None:
            variables["SIMHSM_FAULTS_FILE"] = str(self.faults_file)
        if self.log is not None:
            variables["SIMHSM_LOG"] = str(self.log)
        return variables


@dataclass(frozen=True, slots=True, kw_only=True)
class SignRecord:
    """One finished C_Sign, as the module itself saw it.

    ``input_tail`` and ``signature_head`` are up to 8 bytes; the head is empty where ``rv`` is not 0. ``at_us``: when
    it was over, in Unix microseconds.
    """

    pid: int
    session: int
    input_tail: bytes
    rv: int
    signature_head: bytes
    at_us: int


def write_rules(path: Path, rules: Sequence[str]) -> None:
    """Replace the fault rules in one step, so that the module never reads half of them.

    They count within 10 ms of the next call. An empty sequence ends all faults.
    """
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.write_text("".join(f"{rule}\n" for rule in rules))
    scratch.replace(path)


def read_log(path: Path) -> list[SignRecord]:
    """Every record so far, oldest first; none where the file does not exist yet. A line being written is none yet."""
    if not path.exists():
        return []
    whole, _, _ = path.read_text().rpartition("\n")
    return [_record(line) for line in whole.splitlines()]


def _record(line: str) -> SignRecord:
    pid, session, tail, rv, head, at_us = line.split()
    return SignRecord(
        pid=int(pid),
        session=int(session),
        input_tail=_bytes(tail),
        rv=int(rv, 16),
        signature_head=_bytes(head),
        at_us=int(at_us),
    )


def _bytes(field: str) -> bytes:
    return b"" if field == "-" else bytes.fromhex(field)
