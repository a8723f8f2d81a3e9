"""A private SoftHSM: its own configuration file and token directory, never the machine's."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.support.tools import first_existing, tool

MODULE_PATHS = (  # Debian, then where other systems put it
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
)
COMMAND_TIMEOUT_S = 60.0


class SoftHsmFailed(RuntimeError):
    """softhsm2-util or pkcs11-tool refused; the message is its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftToken:
    """A token just made: ``slot`` is the number that SoftHSM gave it, ``so_pin`` the security officer's."""

    label: str
    pin: str
    so_pin: str
    slot: int


class SoftHsm:
    """A directory of SoftHSM tokens behind one ``softhsm2.conf``."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.module_path = first_existing(*MODULE_PATHS)
        self.token_directory = directory / "tokens"
        self.token_directory.mkdir(parents=True)
        self.conf_path = directory / "softhsm2.conf"
        self.conf_path.write_text(
            f"directories.tokendir = {self.token_directory}\n"
            "objectstore.backend = file\n"
            "log.level = ERROR\n"
            "slots.removable = false\n"
        )

    @property
    def env(self) -> dict[str, str]:
        """Environment variables that show a process these tokens and no others."""
        return {"SOFTHSM2_CONF": str(self.conf_path)}

    def environ(self) -> dict[str, str]:
        """This process's environment with ``env`` on top, for ``subprocess``."""
        return {**os.environ, **self.env}

    def init_token(self, label: str, pin: str = "1234", so_pin: str = "12345678") -> SoftToken:
        """Make a token in a free slot. Costs about 0.1 s."""
        words = ["--init-token", "--free", "--label", label, "--so-pin", so_pin, "--pin", pin]
        output = self._run(tool("softhsm2-util"), *words)
        match = re.search(r"reassigned to slot (\d+)", output)
        if match is None:
            raise SoftHsmFailed(output)
        return SoftToken(label=label, pin=pin, so_pin=so_pin, slot=int(match.group(1)))

    def generate_key(self, token: SoftToken, label: str, kind: str, key_id: str = "01") -> None:
        """Make a key pair that signs, as a vendor's tool would: ``kind`` as ``rsa:3072`` or ``EC:prime256v1``."""
        login = ["--token-label", token.label, "--login", "--pin", token.pin]
        words = ["--keypairgen", "--key-type", kind, "--label", label, "--id", key_id, "--usage-sign"]
        self._run(tool("pkcs11-tool"), "--module", str(self.module_path), *login, *words)

    def _run(self, *command: str) -> str:
        done = subprocess.run(
            command,
            env=self.environ(),
            check=False,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
        )
        if done.returncode != 0:
            raise SoftHsmFailed(f"{Path(command[0]).name}: {done.stdout}{done.stderr}")
        return done.stdout + done.stderr
