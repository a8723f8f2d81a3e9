"""Ways to sign a folder of files, each measured from the start of its first process to the end of its last."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, Protocol, Self

import msgspec

from bench.files.pe_files import write_certificate
from bench.hsm.keyring import LABEL, KeptFile
from bench.load.flows import FlowFailed
from bench.measurement.procfs import process_stat
from queueing.files.folders import entries
from workers.dev.tenants import KEY

VERIFIED: Final = 20
"""Files of a round that osslsigncode judges afterwards, outside the clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedFiles:
    """One round: files, wall time, and CPU of the processes that it started."""

    files: int
    seconds: float
    cpu_s: float

    @property
    def per_s(self) -> float:
        """Files a second."""
        return self.files / self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Workplace:
    """Unsigned files, the folder for signed ones, and certificates of the key."""

    unsigned: Path
    signed: Path
    leaf: Path
    authority: Path
    log: Path

    @classmethod
    def make(cls, directory: Path, kept: KeptFile) -> Self:
        """The folder's names, and the certificates; the unsigned files are written elsewhere."""
        leaf, authority = write_certificate(kept.public_key.spki, directory)
        return cls(
            unsigned=directory / "unsigned",
            signed=directory / "signed",
            leaf=leaf,
            authority=authority,
            log=directory / "sides.log",
        )

    def names(self) -> list[str]:
        """Names of the files, as a command in their folder is given them."""
        return sorted(entry.name for entry in entries(self.unsigned))

    def empty(self) -> None:
        """Begin a round without signed files, in a new folder.

        Those of the former round lose their content, and stay until the end of the run: ext4 gives out an inode again a minute
        after its file was removed, at the earliest, and until then looks past it for each new file. A build does not begin beside
        thousands of files that were just removed.
        """
        if self.signed.exists():
            for entry in entries(self.signed):
                os.truncate(entry, 0)
            self.signed.rename(self.signed.with_name(f"{self.signed.name}-{time.monotonic_ns()}"))
        self.signed.mkdir()

    def check(self) -> int:
        """Count the signed files, and have some judged by osslsigncode; raises ``FlowFailed``."""
        names, done = self.names(), sorted(entry.name for entry in entries(self.signed))
        if done != names:
            raise FlowFailed(f"{len(done)} of {len(names)} files were signed; see {self.log}")
        for name in names[:: max(1, len(names) // VERIFIED)]:
            verify = [
                "osslsigncode",
                "verify",
                "-CAfile",
                str(self.authority),
                "-in",
                str(self.signed / name),
            ]
            judged = subprocess.run(verify, capture_output=True, check=False)
            if judged.returncode:
                raise FlowFailed(
                    f"osslsigncode refuses {name}: {judged.stdout.decode(errors='replace')[-500:]}"
                )
        return len(names)


class Side(Protocol):
    """A way to sign all files of a workplace."""

    @property
    def name(self) -> str:
        """The way in words."""

    def round(self, place: Workplace) -> SignedFiles:
        """Sign all files once; raises ``FlowFailed``."""


def timed(
    command: Sequence[str], place: Workplace, environment: Mapping[str, str], stdin: Path | None = None
) -> SignedFiles:
    """Run a command that signs all files, and check them; CPU is that of all its processes."""
    place.empty()
    began = time.perf_counter()
    with place.log.open("ab") as log:
        source: IO[bytes] | int = stdin.open("rb") if stdin else subprocess.DEVNULL
        process = subprocess.Popen(
            command,
            cwd=place.unsigned,
            env={**os.environ, **environment},
            stdin=source,
            stdout=log,
            stderr=log,
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - began
    if process.returncode:
        raise FlowFailed(f"{command[0]} ended with {process.returncode}; see {place.log}")
    return SignedFiles(files=place.check(), seconds=seconds, cpu_s=usage.ru_utime + usage.ru_stime)


@dataclass(frozen=True, slots=True, kw_only=True)
class Osslsigncode:
    """A process for each file, ``parallel`` at once, by xargs: as builds do it. ``secret``: words for the token's PIN."""

    name: str
    module: str
    key_uri: str
    environment: Mapping[str, str]
    secret: tuple[str, ...] = ()
    parallel: int = 1

    def round(self, place: Workplace) -> SignedFiles:
        """Sign all files once; raises ``FlowFailed``."""
        names = place.log.with_suffix(".names")
        names.write_text("\n".join(place.names()))
        sign = ["osslsigncode", "sign", "-pkcs11module", self.module, "-key", self.key_uri, *self.secret]
        sign += ["-certs", str(place.leaf), "-h", "sha256"]
        sign += ["-in", f"{place.unsigned}/%", "-out", f"{place.signed}/%"]
        command = ["xargs", "-P", str(self.parallel), "-I", "%", *sign]
        return timed(command, place, self.environment, names)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignFile:
    """`sigmill sign-file`: all files in one process."""

    name: str
    config: Path

    def round(self, place: Workplace) -> SignedFiles:
        """Sign all files once; raises ``FlowFailed``."""
        command = [
            sys.executable,
            "-m",
            "workers.cli",
            "sign-file",
            "--config",
            str(self.config),
            "--key",
            KEY,
        ]
        command += ["--certificate", str(place.leaf), "--out-dir", str(place.signed)]
        return timed([*command, *place.names()], place, {})


def direct(kept: KeptFile, module: str) -> Osslsigncode:
    """The tool with the module itself: one at a time, since several lose each other's login to SoftHSM."""
    return Osslsigncode(
        name=f"osslsigncode with {module} directly, one at a time",
        module=kept.token.module,
        key_uri=f"pkcs11:token={kept.token.select.label};object={LABEL}",
        environment=kept.token.environment,
        secret=("-readpass", str(kept.pin_file)),
    )


class Agent:
    """`sigmill agent` in a process of its own, for the sides that sign through it. A context manager."""

    def __init__(self, directory: Path, config: Path) -> None:
        self._command = [sys.executable, "-m", "workers.cli", "agent", "--json", "--key", KEY]
        self._command += ["--config", str(config), "--socket", str(directory / "agent.sock")]
        self._log = directory / "logs" / "agent.log"
        self.environment: dict[str, str] = {}

    def __enter__(self) -> Self:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            raise FlowFailed(f"the agent ended: {self._log.read_text()[-500:]}")
        self.environment = msgspec.json.decode(line, type=dict[str, dict[str, str]])["environment"]
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    @property
    def cpu_s(self) -> float:
        """CPU of the agent so far."""
        return process_stat(self._process.pid).cpu_s

    @property
    def peak_bytes(self) -> int:
        """Largest resident memory so far (VmHWM of proc(5))."""
        for line in Path(f"/proc/{self._process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        raise FlowFailed("the agent has no memory: it has ended")

    def side(self, parallel: int) -> Osslsigncode:
        """The tool through this agent."""
        module = self.environment.get("SIGMILL_PKCS11_MODULE")
        if module is None:
            raise FlowFailed("p11-kit-client.so is not installed here: `ops/tools` installs it")
        at_once = "one at a time" if parallel == 1 else f"{parallel} at once"
        return Osslsigncode(
            name=f"osslsigncode through the agent, {at_once}",
            module=module,
            key_uri=f"pkcs11:token=sigmill;object={KEY}",
            environment=self.environment,
            parallel=parallel,
        )
