"""SoftHSM tokens, each with its own directory, configuration file and random PIN."""

from __future__ import annotations

import os
import pty
import secrets
import subprocess
from pathlib import Path
from typing import Final

from workers.config.settings import PinLogin, SelectSettings, TokenSettings
from workers.dev.private_files import write_private

_MODULES: Final = (  # Debian; other systems
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
)
_PROMPTS: Final = (b"enter SO PIN: ", b"reenter SO PIN: ", b"enter user PIN: ", b"reenter user PIN: ")
_READ_BYTES: Final = 4096


class SoftHsmFailed(RuntimeError):
    """SoftHSM is not installed, or softhsm2-util refused; the message has its output."""


def module_path() -> str:
    """Path of SoftHSM's PKCS#11 module; raises ``SoftHsmFailed`` if it is not installed."""
    for candidate in _MODULES:
        if Path(candidate).exists():
            return candidate
    raise SoftHsmFailed(f"SoftHSM's module is at none of {', '.join(_MODULES)}: run ops/bootstrap")


def make_token(directory: Path, label: str, *, sessions: int) -> TokenSettings:
    """Initialise a new token in ``directory``; return its settings for a configuration file."""
    store = directory / "tokens"
    store.mkdir(parents=True, mode=0o700)
    config = directory / "softhsm2.conf"
    config.write_text(
        f"directories.tokendir = {store}\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n",
        "utf-8",
    )
    pin, so_pin = (f"{secrets.randbelow(10**12):012d}" for _ in range(2))
    write_private(directory / "pin", f"{pin}\n")
    write_private(directory / "so-pin", f"{so_pin}\n")
    environment = {"SOFTHSM2_CONF": str(config)}
    _initialise(environment, label, answers=(so_pin, so_pin, pin, pin))
    return TokenSettings(
        module=module_path(),
        select=SelectSettings(label=label),
        login=PinLogin(pin_file=str(directory / "pin")),
        environment=environment,
        sessions=sessions,
    )


def _initialise(environment: dict[str, str], label: str, *, answers: tuple[str, ...]) -> None:
    """Run softhsm2-util on a pseudo-terminal: PINs given as arguments would be readable in /proc."""
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen(
            ["softhsm2-util", "--init-token", "--free", "--label", label],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={"PATH": os.environ.get("PATH", os.defpath), **environment},
            start_new_session=True,
        )
        os.close(theirs)
        for prompt, answer in zip(_PROMPTS, answers, strict=True):
            _read_until(ours, prompt)
            os.write(ours, answer.encode() + b"\n")
        rest = _read_until(ours, None)
        if process.wait() != 0:
            raise SoftHsmFailed(f"softhsm2-util: {rest.decode(errors='replace').strip()}")
    finally:
        os.close(ours)


def _read_until(terminal: int, prompt: bytes | None) -> bytes:
    """Output of the program up to the prompt; with None, up to its end."""
    output = b""
    while prompt is None or not output.endswith(prompt):
        try:
            more = os.read(terminal, _READ_BYTES)
        except OSError:  # EIO: the other side is closed (pty(7))
            more = b""
        if not more:
            if prompt is None:
                return output
            raise SoftHsmFailed(f"softhsm2-util ended early: {output.decode(errors='replace').strip()}")
        output += more
    return output
