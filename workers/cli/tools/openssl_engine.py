"""Configuration of OpenSSL that points the engine pkcs11 (libp11) to the agent, where a person's own points it elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from workers.cli.tools.openssl_settings import OpenSslSettings, quoted, used_file

_NAME: Final = "pkcs11"
_LIBRARIES: Final = frozenset(["pkcs11.so", "libpkcs11.so"])
_MODULE: Final = "MODULE_PATH"


class OpenSslEngine:
    """Lines behind a person's configuration, and what of it they replace. ``module``: path of the PKCS#11 module to load.

    The module that a configuration names counts before PKCS11_MODULE_PATH.
    """

    def __init__(self, module: str, environment: Mapping[str, str]) -> None:
        self._module = module
        self._used = used_file(environment)
        settings = OpenSslSettings(self._used, environment)
        start = settings.get("default", "openssl_conf") or ""
        engines = settings.section(settings.get(start, "engines") or "")
        own = {
            section: settings.section(section)
            for name, section in engines.items()
            if _is_pkcs11(name, settings.section(section))
        }
        self._sections = {section: commands for section, commands in own.items() if self._others(commands)}

    def lines(self) -> list[str]:
        """Lines to add; none where the configuration has no other module for the engine.

        A command that is given again becomes the last one of its section, and the module must be known before ``init``: all are given again.
        """
        lines: list[str] = []
        for section, commands in self._sections.items():
            lines.append(f"[{section}]")
            for name, value in commands.items():
                lines.append(f"{name} = {quoted(self._module if _command(name) == _MODULE else value)}")
        return lines

    def note(self) -> str | None:
        """A sentence about the module that is not loaded; None where there is none."""
        others = [module for commands in self._sections.values() for module in self._others(commands)]
        if not others:
            return None
        return (
            f"OpenSSL's engine {_NAME}, which your configuration ({self._used}) points to {others[-1]},"
            " shows the keys of Sigmill in this run: it can load one module only"
        )

    def _others(self, commands: Mapping[str, str]) -> list[str]:
        return [
            value for name, value in commands.items() if _command(name) == _MODULE and value != self._module
        ]


def _is_pkcs11(name: str, commands: Mapping[str, str]) -> bool:
    by_command = {_command(each): value for each, value in commands.items()}
    return (
        by_command.get("engine_id", _command(name)) == _NAME
        or Path(by_command.get("dynamic_path", "")).name in _LIBRARIES
    )


def _command(name: str) -> str:
    """The command of a setting: what is before its first dot is dropped, so that one can be given several times (config(5))."""
    return name.partition(".")[2] or name
