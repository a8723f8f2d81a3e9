"""Run arq's own test suite with our worker in the place of its own: ``make test-compat``.

The suite comes from arq's sdist at the version and hash of requirements.lock; only its tests are unpacked,
so that they meet the installed arq. Both it and ``tests/compat/requirements.lock`` go to ``build/compat``
once; later runs need no network. Extra arguments go to pytest; ``SIGMILL_COMPAT_WORKER`` names another
class (``module:Class``), or ``pass-through`` for a subclass that changes nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.support.redis.process import RedisProcess

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "compat"
SUITE_LOCK = ROOT / "tests" / "compat" / "requirements.lock"
PLUGINS = ("pytest_asyncio.plugin", "pytest_timeout", "pytest_mock", "arq_plugin", "patient_loop")
# arq's suite turns warnings into errors; its lock has redis-py 4.6, where close() was not yet deprecated
WARNINGS = ("-W", "ignore:Call to deprecated close:DeprecationWarning")
SUITE_TIMEOUT_S = 300.0
DEFAULT_WORKER = "workers.worker:SigningWorker"


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteResult:
    """Result of the suite: ``counts`` as pytest's last line has them (passed, failed, skipped, error)."""

    exit_code: int
    counts: dict[str, int]
    output: str


def arq_requirement() -> str:
    """The lines of requirements.lock that pin arq, hashes and all."""
    match = re.search(r"^arq==(?:.*\\\n)+.*\n", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    if match is None:
        raise RuntimeError("requirements.lock does not pin arq: run ops/lock")
    return match.group()


def prepare() -> Path:
    """Fetch arq's tests and what they need into build/compat, once; returns the folder of the suite."""
    requirement = arq_requirement()
    version = requirement.partition("==")[2].split()[0]
    inputs = requirement.encode() + SUITE_LOCK.read_bytes() + sys.version.encode()
    key = hashlib.sha256(inputs).hexdigest()
    stamp, suite = BUILD / "stamp", BUILD / f"arq-{version}"
    if stamp.exists() and stamp.read_text() == key:
        return suite
    shutil.rmtree(BUILD, ignore_errors=True)
    BUILD.mkdir(parents=True)
    pinned = BUILD / "arq.txt"
    pinned.write_text(requirement)
    _pip("install", "--require-hashes", "--target", str(BUILD / "site"), "-r", str(SUITE_LOCK))
    source = ("--no-binary", "arq", "--no-deps", "--no-build-isolation")
    _pip("download", "--require-hashes", *source, "--dest", str(BUILD), "-r", str(pinned))
    with tarfile.open(BUILD / f"arq-{version}.tar.gz") as sdist:  # its hash was checked by pip
        wanted = (f"arq-{version}/tests/", f"arq-{version}/pyproject.toml")
        for member in sdist.getmembers():
            content = sdist.extractfile(member) if member.name.startswith(wanted) else None
            if content is not None:  # a regular file
                (BUILD / member.name).parent.mkdir(parents=True, exist_ok=True)
                (BUILD / member.name).write_bytes(content.read())
    stamp.write_text(key)
    return suite


def run(*arguments: str, worker: str | None = None, echo: bool = False) -> SuiteResult:
    """Run the suite against a fresh redis-server; takes about ten seconds."""
    suite = prepare()
    plugins = [word for plugin in PLUGINS for word in ("-p", plugin)]
    command = [sys.executable, "-m", "pytest", *plugins, *WARNINGS, "--color=no", *arguments]
    lines = []
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="sigmill-compat-"))
        server = stack.enter_context(RedisProcess(Path(directory) / "redis"))
        process = stack.enter_context(
            subprocess.Popen(
                command,
                cwd=suite,
                env=_environment(server.port, worker),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if echo:
                sys.stdout.write(line)
                sys.stdout.flush()
        exit_code = process.wait(SUITE_TIMEOUT_S)
    summary = lines[-1] if lines else ""
    counts = {word.rstrip("s"): int(number) for number, word in re.findall(r"(\d+) ([a-z]+)", summary)}
    return SuiteResult(exit_code=exit_code, counts=counts, output="".join(lines))


def _environment(port: int, worker: str | None) -> dict[str, str]:
    path = [BUILD / "site", ROOT / "tests" / "compat", ROOT]
    return {
        # The suite reads ARQ_TIMEZONE and TIMEZONE, and compares times: no settings of this machine
        **{name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG", "TMPDIR"}},
        "TZ": "UTC",
        "PYTHONPATH": os.pathsep.join(str(entry) for entry in path),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # .venv's plugins are of other versions
        "SIGMILL_COMPAT_REDIS_PORT": str(port),
        "SIGMILL_COMPAT_WORKER": worker or os.environ.get("SIGMILL_COMPAT_WORKER") or DEFAULT_WORKER,
    }


def _pip(*arguments: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", arguments[0], "-qq", *arguments[1:]],
        check=True,
        stdin=subprocess.DEVNULL,
    )


if __name__ == "__main__":
    sys.exit(run(*sys.argv[1:], echo=True).exit_code)
