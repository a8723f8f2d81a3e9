"""Parts of a support bundle. A part that fails does not affect the others: a bundle is needed on a broken host."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from queueing.child_group import run_in_group
from queueing.config.toml import read_toml
from queueing.errors import ConfigError
from queueing.files.folders import entries_below
from queueing.files.regular_file import open_regular
from workers.config.loading import tenant_files
from workers.monitoring.http import get
from workers.support.redaction import redact_tables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from workers.config.service_file import ServiceConfiguration

Part = tuple[str, "Callable[[], str]"]
"""Name of a part in the archive, and the function that collects it."""

COMMAND_TIMEOUT_S: Final = 60.0
MOST_LOG_BYTES: Final = 4 * 1024 * 1024
_JOURNAL_LINES: Final = 5000

_PACKAGES: Final = (
    *("arq", "click", "cryptography", "hiredis", "msgspec", "prometheus-client", "python-pkcs11", "redis"),
    *("sigmill", "uvloop"),
)


class PartFailed(Exception):
    """A part could not be collected; the message says why."""


def parts_of(
    file: Path,
    service: ServiceConfiguration | None,
    logs: Sequence[Path],
    commands: Sequence[tuple[str, ...]],
) -> Iterator[Part]:
    """All parts; without ``service`` only those that need no valid configuration."""
    yield "host.json", _host
    yield "config/sigmill.toml.json", lambda: _config(file)
    if service is not None:
        yield from _of_service(service)
    for log in logs:
        yield f"logs/{log.name}", lambda log=log: _tail(log)  # type: ignore[misc]
    if not logs:
        yield "logs/journal.txt", _journal
    for words in commands:
        yield f"commands/{'-'.join(words)}.txt", lambda words=words: _command(file, words)  # type: ignore[misc]


def _of_service(service: ServiceConfiguration) -> Iterator[Part]:
    yield "state.txt", lambda: _listing(service.state_dir)
    try:
        tenants = tenant_files(service)
    except ConfigError:
        tenants = []
    for tenant in tenants:
        yield f"config/tenants/{tenant.name}.json", lambda tenant=tenant: _config(tenant)  # type: ignore[misc]
    for name, where in (("worker", service.metrics), ("exporter", service.exporter)):
        url = f"http://{where.address}/metrics"
        yield f"metrics/{name}.txt", lambda url=url: get(url).decode("utf-8", "replace")  # type: ignore[misc]


def _host() -> str:
    """Versions, limits and load of the host."""
    packages = {}
    for name in _PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = "not installed"
    facts: dict[str, Any] = {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "uname": list(os.uname()),
        "os_release": platform.freedesktop_os_release().get("PRETTY_NAME", ""),
        "python": sys.version,
        "packages": packages,
        "cpus": len(os.sched_getaffinity(0)),
        "load": os.getloadavg(),
        "uptime_s": time.clock_gettime(time.CLOCK_BOOTTIME),
        "memory": Path("/proc/meminfo").read_text().splitlines()[:3],
        "limits": {
            name: resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))
            for name in ("NOFILE", "CORE", "MEMLOCK")
        },
    }
    return msgspec.json.format(msgspec.json.encode(facts)).decode()


def _config(file: Path) -> str:
    """Configuration file as redacted JSON, without comments. Raises ``PartFailed`` for invalid TOML, which cannot be redacted."""
    try:
        tables = read_toml(file)
    except ConfigError as error:
        raise PartFailed(f"{file} {error.problem}: it cannot be redacted and was left out") from error
    return msgspec.json.format(msgspec.json.encode(redact_tables(tables))).decode()


def _listing(folder: Path) -> str:
    """Names, modes, sizes and times of all files; no contents."""
    lines = []
    for file in [folder, *entries_below(folder)]:
        facts = file.lstat()
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(facts.st_mtime))
        lines.append(f"{facts.st_mode:o} {facts.st_uid}:{facts.st_gid} {facts.st_size:>12} {at} {file}")
    usage = shutil.disk_usage(folder)
    return "\n".join([*lines, f"free: {usage.free} of {usage.total} bytes", ""])


def _tail(file: Path) -> str:
    with open_regular(file) as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(size - MOST_LOG_BYTES, 0))
        text = stream.read(MOST_LOG_BYTES).decode("utf-8", "replace")
    return text if size <= MOST_LOG_BYTES else text.partition("\n")[2]


def _journal() -> str:
    """Journal of the systemd units; without systemd, ``--log`` names the log files."""
    if shutil.which("journalctl") is None:
        raise PartFailed("journalctl is not installed; give the log files with --log")
    words = ["journalctl", "--no-pager", "--output=cat", f"--lines={_JOURNAL_LINES}", "--unit=sigmill*"]
    return _run(words)


def _command(file: Path, words: tuple[str, ...]) -> str:
    return _run([sys.executable, "-I", "-m", "workers.cli", *words, "--config", str(file)])


def _run(words: list[str]) -> str:
    try:
        done = run_in_group(words, timeout_s=COMMAND_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise PartFailed(f"timed out after {COMMAND_TIMEOUT_S:.0f} s") from None
    out, err = (text.decode("utf-8", "replace") for text in (done.stdout, done.stderr))
    return f"{out}{err}exit code {done.returncode}\n"
