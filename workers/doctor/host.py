"""Checks of this host: limits of the worker processes, state directory, metrics port."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final

from queueing.ed25519 import load_libsodium
from workers.doctor.findings import Finding, fail, ok, skipped, warning
from workers.hsm.native.loop import NativeLoopMissing, load_function
from workers.state.running_workers import running_workers

if TYPE_CHECKING:
    from workers.config.service_file import ServiceConfiguration
    from workers.config.settings import MetricsSettings

BASE_DESCRIPTORS: Final = 256
PER_LANE: Final = 4
"""Descriptors of a worker per lane: a socket and, while the lane starts, three pipes."""

LEAST_FREE_BYTES: Final = 1024**3
"""About one day of the write-ahead log of a busy host."""

PROBE_TIMEOUT_S: Final = 2.0


def check_host(service: ServiceConfiguration) -> list[Finding]:
    """Check limits, state directory and metrics port; contacts no other host."""
    workers = list(_running(service.state_dir))
    return [
        *_limits(service, workers),
        check_state_dir(service.state_dir),
        check_port(service.metrics),
        check_native_loop(),
        check_libsodium(),
    ]


def check_native_loop() -> Finding:
    """Check that lanes of this host can sign by the native loop; `lane.ready` in the log says which loop each has."""
    try:
        load_function()
    except NativeLoopMissing as error:
        text = f"lanes sign by python-pkcs11, with more CPU and fewer signatures at many sessions: {error}"
        return warning("lanes.loop", "lanes of this host", text)
    return ok("lanes.loop", "lanes of this host", "sign by the native loop")


def check_libsodium() -> Finding:
    """Check that lanes of this host verify Ed25519 with libsodium, which PyNaCl brings."""
    if load_libsodium():
        return ok("lanes.ed25519", "lanes of this host", "verify envelopes with libsodium")
    text = (
        "PyNaCl is not installed, or its libsodium accepts what OpenSSL refuses, so OpenSSL verifies each envelope of an Ed25519 key:"
        " about 45 us more. Install the extra `worker`: `pip install 'sigmill[worker]'`."
    )
    return warning("lanes.ed25519", "lanes of this host", text)


def _running(state_dir: Path) -> list[int]:
    try:
        return list(running_workers(state_dir))
    except OSError:
        return []


def _limits(service: ServiceConfiguration, workers: list[int]) -> list[Finding]:
    subjects = [(f"worker {pid}", Path(f"/proc/{pid}/limits")) for pid in workers]
    findings: list[Finding] = []
    for subject, file in subjects or [("this shell (no worker is running)", Path("/proc/self/limits"))]:
        try:
            text = file.read_text()
        except OSError as error:
            findings.append(skipped("limits", subject, f"{file}: {error.strerror}", "sudo sigmill doctor"))
            continue
        findings += check_limits(subject, text, tokens=len(service.tokens), is_worker=bool(workers))
    return findings


def check_limits(subject: str, text: str, *, tokens: int, is_worker: bool) -> list[Finding]:
    """Check ``/proc/PID/limits``. Core files of a shell are not checked: the unit of the worker sets its own limit."""
    wanted = BASE_DESCRIPTORS + PER_LANE * tokens
    files, core = _soft(text, "Max open files"), _soft(text, "Max core file size")
    findings = [
        ok("limits.nofile", subject, f"{_number(files)} open files allowed; {tokens} tokens need {wanted}")
        if files is None or files >= wanted
        else fail(
            "limits.nofile",
            subject,
            f"only {files} open files allowed; {tokens} tokens need {wanted}",
            "LimitNOFILE=65536   # in sigmill-worker.service, then systemctl daemon-reload and restart",
        )
    ]
    if core == 0:
        findings.append(ok("limits.core", subject, "core files are disabled"))
    elif is_worker:
        findings.append(
            fail(
                "limits.core",
                subject,
                "core files are enabled: a crash writes the worker's memory, with the Redis password, to disk (lanes never do)",
                "LimitCORE=0   # in sigmill-worker.service, then systemctl daemon-reload and restart",
            )
        )
    return findings


def _soft(text: str, name: str) -> int | None:
    """Soft limit; None is unlimited."""
    found = re.search(rf"^{name}\s+(\d+|unlimited)", text, re.MULTILINE)
    return None if found is None or found[1] == "unlimited" else int(found[1])


def _number(limit: int | None) -> str:
    return "unlimited" if limit is None else str(limit)


def check_state_dir(folder: Path) -> Finding:
    """Check that the write-ahead log can be written and has free disk space."""
    subject = str(folder)
    if not folder.is_dir():
        parent = next(path for path in folder.parents if path.exists())
        if os.access(parent, os.W_OK | os.X_OK):
            return warning("state", subject, "does not exist yet; the first worker creates it")
        return fail(
            "state",
            subject,
            "does not exist and cannot be created",
            f"install -d -m 0700 -o sigmill {folder}",
        )
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return skipped("state", subject, "is not accessible to this user", "sudo -u sigmill sigmill doctor")
    free = shutil.disk_usage(folder).free
    if free < LEAST_FREE_BYTES:
        return fail(
            "state",
            subject,
            f"only {free // 2**20} MiB free for the write-ahead log; without it nothing is signed",
            f"df -h {folder}; then free disk space, or lower keep_days in [log]",
        )
    return ok("state", subject, f"{free // 2**30} GiB free for the write-ahead log")


def check_port(settings: MetricsSettings) -> Finding:
    """Check that the metrics port is free, or served by a worker."""
    host, port = settings.host, settings.port
    subject = settings.address
    if port == 0:
        return ok("port", subject, "any free port")
    page = _get("127.0.0.1" if host in {"", "0.0.0.0"} else "::1" if host == "::" else host, port)  # noqa: S104
    if page is not None:
        if "sigmill_build_info" in page:
            return ok("port", subject, "served by a worker")
        return fail("port", subject, "used by another program", "port = 9466   # any free port, in [metrics]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
    except OSError as error:
        return fail(
            "port",
            subject,
            f"cannot listen: {error.strerror}",
            "Set host and port in [metrics] to a free address of this host.",
        )
    return ok("port", subject, "free")


def _get(host: str, port: int) -> str | None:
    """Page served on the port; None where the connection is refused."""
    connection = http.client.HTTPConnection(host, port, timeout=PROBE_TIMEOUT_S)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode(errors="replace")
    except ConnectionRefusedError:
        return None
    except (OSError, http.client.HTTPException):
        return ""  # another program listens, without HTTP
    finally:
        connection.close()
