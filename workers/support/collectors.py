"""The parts of a bundle. One that cannot be made costs itself alone: what is broken is why somebody asks for help."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import subprocess
import sys
import time
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from queueing.errors import ConfigError
from queueing.files.folders import entries_below
from workers.config.loading import tenant_files
from workers.monitoring.http import get
from workers.support.redaction import mask_tables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from workers.config.service_file import ServiceConfiguration

Part = tuple[str, "Callable[[], str]"]
"""Its name in the archive, and what makes it."""

COMMAND_TIMEOUT_S: Final = 60.0
MOST_LOG_BYTES: Final = 4 * 1024 * 1024
_JOURNAL_LINES: Final = 5000

_PACKAGES: Final = (
    *("arq", "click", "cryptography", "hiredis", "msgspec", "prometheus-client", "python-pkcs11", "redis"),
    *("sigmill", "uvloop"),
)


class PartFailed(Exception):
    """Why a part is not there."""


def parts_of(
    file: Path,
    service: ServiceConfiguration | None,
    logs: Sequence[Path],
    commands: Sequence[tuple[str, ...]],
) -> Iterator[Part]:
    """All parts; without ``service`` those that need no configuration that can be read."""
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
    """Versions, limits, and how the machine is."""
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
    """As JSON, so that no comment is in it, and masked. What is not TOML is left out: it cannot be masked."""
    try:
        tables = tomllib.loads(file.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PartFailed(f"{file} is not TOML ({type(error).__name__}), and is left out") from error
    return msgspec.json.format(msgspec.json.encode(mask_tables(tables))).decode()


def _listing(folder: Path) -> str:
    """Names, modes, sizes and times; no contents."""
    lines = []
    for file in [folder, *entries_below(folder)]:
        facts = file.lstat()
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(facts.st_mtime))
        lines.append(f"{facts.st_mode:o} {facts.st_uid}:{facts.st_gid} {facts.st_size:>12} {at} {file}")
    usage = shutil.disk_usage(folder)
    return "\n".join([*lines, f"free: {usage.free} of {usage.total} bytes", ""])


def _tail(file: Path) -> str:
    with file.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(size - MOST_LOG_BYTES, 0))
        text = stream.read(MOST_LOG_BYTES).decode("utf-8", "replace")
    return text if size <= MOST_LOG_BYTES else text.partition("\n")[2]


def _journal() -> str:
    """Of systemd's units; elsewhere logs are where stderr goes, and ``--log`` names them."""
    if shutil.which("journalctl") is None:
        raise PartFailed("there is no journalctl; name the files with --log")
    words = ["journalctl", "--no-pager", "--output=cat", f"--lines={_JOURNAL_LINES}", "--unit=sigmill*"]
    return _run(words)


def _command(file: Path, words: tuple[str, ...]) -> str:
    return _run([sys.executable, "-I", "-m", "workers.cli", *words, "--config", str(file)])


def _run(words: list[str]) -> str:
    try:
        done = subprocess.run(words, capture_output=True, check=False, timeout=COMMAND_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise PartFailed(f"did not end within {COMMAND_TIMEOUT_S:.0f} s") from None
    out, err = (text.decode("utf-8", "replace") for text in (done.stdout, done.stderr))
    return f"{out}{err}exit code {done.returncode}\n"
