"""Imports of the commands of a build host: a build that signs file by file starts them thousands of times."""

from __future__ import annotations

import subprocess
import sys
from typing import Final

import pytest

from workers.cli.commands import COMMANDS

PACKAGES: Final = {"click", "cryptography", "msgspec", "queueing", "typing_extensions", "uvloop", "workers"}
"""Packages that every one of these commands loads, with ``typing_extensions`` of cryptography."""

SLOW: Final = {
    "cryptography.x509",
    "email.message",
    "http.client",
    "importlib.metadata",
    "importlib.resources",
    "zipfile",
}
"""Modules that take five milliseconds or more, and that signing needs none of."""

CERTIFICATES: Final = {"cryptography.x509"}
HTTP: Final = {"email.message", "http.client"}

COMMON: Final = {
    "agent": CERTIFICATES,
    "cancel": set(),
    "directory": set(),
    "explain": set(),
    "login": HTTP,
    "run": CERTIFICATES,
    "sign": set(),
    "sign-file": CERTIFICATES | HTTP,
    "status": set(),
    "submit": set(),
    "verify": set(),
    "wait": set(),
}
"""Commands, each with the slow modules that it needs: those that show certificates, and those that speak to a server by HTTP."""


def _imported(*modules: str) -> set[str]:
    code = f"import sys; before = set(sys.modules); import {', '.join(modules)}; print(*set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def _packages(modules: set[str]) -> set[str]:
    tops = {module.partition(".")[0] for module in modules} - sys.stdlib_module_names
    return {top for top in tops if not top.startswith(("_", "cython"))}


@pytest.mark.parametrize("command", COMMON)
def test_a_command_loads_neither_redis_nor_aiohttp_nor_slow_modules_without_need(command: str) -> None:
    module = COMMANDS[command].target.partition(":")[0]
    imported = _imported("workers.cli.main", module)
    assert _packages(imported) <= PACKAGES
    assert imported & SLOW == COMMON[command]


def test_access_to_redis_loads_redis_without_what_redis_does_not_use() -> None:
    imported = _imported("queueing.client.delivery.redis_access")
    assert {"redis", "arq"} <= _packages(imported)
    assert not imported & {"jwt", "cryptography.x509", "aiohttp"}


def test_access_to_a_relay_loads_no_redis() -> None:
    imported = _imported("queueing.client.delivery.relay_access", "queueing.client.delivery.relay_connection")
    assert "aiohttp" in _packages(imported)
    assert not _packages(imported) & {"redis", "arq", "jwt"}


def test_signing_without_receipts_loads_no_format_of_the_record() -> None:
    imported = _imported("queueing.client.signing_client")
    assert not imported & {"queueing.transparency.receipts", "queueing.transparency.job_proofs"}


def test_redis_py_is_imported_without_pyjwt_and_who_wants_pyjwt_gets_it() -> None:
    code = (
        "import queueing.redis, sys; assert 'jwt' not in sys.modules; import jwt; print(callable(jwt.decode))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
