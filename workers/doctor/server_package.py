"""Package of the running Redis: distributions patch old versions in package revisions, which INFO does not report."""

from __future__ import annotations

import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

DEBIAN_FIXED: Final[dict[tuple[str, str], str]] = {
    ("redis", "deb12"): "5:7.0.15-1~deb12u10",
    ("redis", "deb13"): "5:8.0.2-3+deb13u3",
}
"""By source package and release, the first revision with the fixes of CVE-2026-23479, CVE-2026-81934 and before."""

_RELEASE: Final = re.compile(r"[~+](deb\d+)u\d+\Z")
_TIMEOUT_S: Final = 10.0
_SERVERS: Final = ("redis", "valkey")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerPackage:
    """Package of a server. ``fixed``: its first revision without known vulnerabilities, None where unknown.

    ``began_before``: the process started before the package was installed, so it may be an older revision.
    """

    name: str
    version: str
    fixed: str | None
    is_fixed: bool
    began_before: bool = False

    @property
    def upstream(self) -> str:
        """Version without epoch and revision."""
        return self.version.partition(":")[2].partition("-")[0] or self.version.partition("-")[0]


def package_of(info: Mapping[str, object]) -> ServerPackage | None:
    """The dpkg package of the server that INFO describes; None for a server on another host, or unknown to dpkg.

    A process with the reported id and the name of a server must run here, so that the id of a container or another
    host is not mistaken for a local one.
    """
    executable = str(info.get("executable", ""))
    try:
        if not Path(f"/proc/{info['process_id']}/comm").read_text().startswith(_SERVERS):
            return None
        owner = _ask("--search", executable).partition(":")[0].strip()
        shown = "${db:Status-Abbrev} ${source:Package} ${Version}"
        status, source, version = _ask("--show", f"--showformat={shown}", owner).split()
        installed_s = (
            Path(executable).stat().st_ctime
        )  # a package's files keep the mtime that they were built with
        began_s = time.time() - float(str(info.get("uptime_in_seconds", 0)))
    except (KeyError, OSError, ValueError, subprocess.SubprocessError):
        return None
    if not status.startswith("ii"):
        return None
    release = _RELEASE.search(version)
    fixed = DEBIAN_FIXED.get((source, release[1])) if release else None
    return ServerPackage(
        name=owner,
        version=version,
        fixed=fixed,
        is_fixed=fixed is not None and _is_at_least(version, fixed),
        began_before=began_s + 1.0 < installed_s,  # the uptime is in whole seconds
    )


def _ask(*words: str) -> str:
    done = subprocess.run(
        ["dpkg-query", *words], capture_output=True, text=True, check=True, timeout=_TIMEOUT_S
    )
    return done.stdout


def _is_at_least(version: str, fixed: str) -> bool:
    words = ["dpkg", "--compare-versions", version, "ge", fixed]
    return subprocess.run(words, capture_output=True, check=False, timeout=_TIMEOUT_S).returncode == 0
