"""This host: what the kernel allows its workers, the state directory, the metrics port."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final

from workers.doctor.findings import Finding, good, mend, note, unasked
from workers.state.running_workers import running_workers

if TYPE_CHECKING:
    from workers.config.service_file import ServiceConfiguration
    from workers.config.settings import MetricsSettings

BASE_DESCRIPTORS: Final = 256
PER_LANE: Final = 4
"""A lane costs its worker a socket and, while it starts, three pipes."""

LEAST_FREE_BYTES: Final = 1024**3
"""A day of a busy host's write-ahead log, about."""

PROBE_TIMEOUT_S: Final = 2.0


def look_at_host(service: ServiceConfiguration) -> list[Finding]:
    """Asks the kernel and the own port, nobody else."""
    workers = list(_running(service.state_dir))
    return [
        *_limits(service, workers),
        judge_state_dir(service.state_dir),
        probe_port(service.metrics),
    ]


def _running(state_dir: Path) -> list[int]:
    try:
        return list(running_workers(state_dir))
    except OSError:
        return []


def _limits(service: ServiceConfiguration, workers: list[int]) -> list[Finding]:
    subjects = [(f"worker {pid}", Path(f"/proc/{pid}/limits")) for pid in workers]
    findings: list[Finding] = []
    for subject, file in subjects or [("this shell; no worker runs here", Path("/proc/self/limits"))]:
        try:
            text = file.read_text()
        except OSError as error:
            findings.append(unasked("limits", subject, f"{file}: {error.strerror}", "sudo sigmill doctor"))
            continue
        findings += judge_limits(subject, text, tokens=len(service.tokens), is_worker=bool(workers))
    return findings


def judge_limits(subject: str, text: str, *, tokens: int, is_worker: bool) -> list[Finding]:
    """By ``/proc/PID/limits``. A shell's core files are its own matter: the unit of the worker sets its own."""
    wanted = BASE_DESCRIPTORS + PER_LANE * tokens
    files, core = _soft(text, "Max open files"), _soft(text, "Max core file size")
    findings = [
        good(
            "limits.nofile", subject, f"{_number(files)} open files, {wanted} are enough for {tokens} tokens"
        )
        if files is None or files >= wanted
        else mend(
            "limits.nofile",
            subject,
            f"{files} open files: {tokens} tokens need {wanted}",
            "LimitNOFILE=65536   # in sigmill-worker.service, then systemctl daemon-reload and restart",
        )
    ]
    if core == 0:
        findings.append(good("limits.core", subject, "no core files"))
    elif is_worker:
        findings.append(
            mend(
                "limits.core",
                subject,
                "a crash writes its memory, with Redis' password, to disk (lanes never do)",
                "LimitCORE=0   # in sigmill-worker.service, then systemctl daemon-reload and restart",
            )
        )
    return findings


def _soft(text: str, name: str) -> int | None:
    """The soft limit; None is no limit."""
    found = re.search(rf"^{name}\s+(\d+|unlimited)", text, re.MULTILINE)
    return None if found is None or found[1] == "unlimited" else int(found[1])


def _number(limit: int | None) -> str:
    return "any number of" if limit is None else str(limit)


def judge_state_dir(folder: Path) -> Finding:
    """Whether the write-ahead log has a place."""
    subject = str(folder)
    if not folder.is_dir():
        parent = next(path for path in folder.parents if path.exists())
        if os.access(parent, os.W_OK | os.X_OK):
            return note("state", subject, "is not there yet: the first worker makes it")
        return mend(
            "state", subject, "is not there, and cannot be made", f"install -d -m 0700 -o sigmill {folder}"
        )
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return unasked("state", subject, "belongs to another user", "sudo -u sigmill sigmill doctor")
    free = shutil.disk_usage(folder).free
    if free < LEAST_FREE_BYTES:
        return mend(
            "state",
            subject,
            f"{free // 2**20} MiB are left for the write-ahead log; without it nothing is signed",
            f"df -h {folder}; then make room, or lower keep_days in [log]",
        )
    return good("state", subject, f"{free // 2**30} GiB are left for the write-ahead log")


def probe_port(settings: MetricsSettings) -> Finding:
    """Whether the metrics' port is served by us, or free."""
    host, port = settings.host, settings.port
    subject = settings.address
    if port == 0:
        return good("port", subject, "any free one is taken")
    page = _get("127.0.0.1" if host in {"", "0.0.0.0"} else "::1" if host == "::" else host, port)  # noqa: S104
    if page is not None:
        if "sigmill_build_info" in page:
            return good("port", subject, "a worker serves it")
        return mend("port", subject, "somebody else serves it", "port = 9466   # a free one, in [metrics]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
    except OSError as error:
        return mend(
            "port",
            subject,
            f"cannot be listened at: {error.strerror}",
            "host and port of this host that are free, in [metrics]",
        )
    return good("port", subject, "free")


def _get(host: str, port: int) -> str | None:
    """What is served there; None where nobody listens."""
    connection = http.client.HTTPConnection(host, port, timeout=PROBE_TIMEOUT_S)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode(errors="replace")
    except ConnectionRefusedError:
        return None
    except (OSError, http.client.HTTPException):
        return ""  # somebody is there, and does not speak HTTP, or not to us
    finally:
        connection.close()
