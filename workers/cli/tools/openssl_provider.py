"""Configuration of OpenSSL that adds pkcs11-provider to the one that is in use, whose own providers stay."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from workers.cli.tools.openssl_settings import OpenSslSettings, included, quoted, used_file

_NAME: Final = "pkcs11"
_LIBRARY: Final = "pkcs11.so"
_MODULE: Final = "pkcs11-module-path"
_OFF: Final = frozenset(["0", "no", "false", "off"])


class OpenSslProvider:
    """Lines of a configuration, and what of a person's own they replace.

    ``provider``: path of pkcs11-provider. ``module``: path of the PKCS#11 module that it is to load.
    """

    def __init__(self, provider: str, module: str, environment: Mapping[str, str]) -> None:
        self._provider = provider
        self._module = module
        self._used = used_file(environment)
        self._settings = OpenSslSettings(self._used, environment)
        self._start = self._settings.get("default", "openssl_conf") or "sigmill_init"
        self._providers = self._settings.get(self._start, "providers") or "sigmill_providers"
        self._named = self._settings.section(self._providers)
        self._pkcs11 = next((name for name in self._named if self._is_pkcs11(name)), None)

    def lines(self) -> list[str]:
        """The configuration: the one in use, and behind it the provider in the section that has its providers."""
        lines = included(self._used)
        lines += ["[default]", f"openssl_conf = {self._start}", f"[{self._start}]"]
        lines += [f"providers = {self._providers}"]
        if not self._has_active():
            # A provider that is loaded by name ends OpenSSL's habit to load its own one where none is.
            lines += self._entry("default", "sigmill_default", ["activate = 1"])
        name, section = self._pkcs11 or _NAME, "sigmill_pkcs11"
        own = self._settings.section(self._named.get(name, ""))
        settings = [f"module = {quoted(own.get('module') or self._provider)}"]
        settings += [f"{_MODULE} = {quoted(self._module)}", "activate = 1"]
        return lines + self._entry(name, section, settings)

    def note(self) -> str | None:
        """A sentence about what the command does not find as the person has configured it; None where that is nothing."""
        if self._pkcs11 is None:
            return None
        theirs = self._settings.get(self._named[self._pkcs11], _MODULE)
        if theirs is None or theirs == self._module:
            return None
        return (
            f"OpenSSL's provider {self._pkcs11}, which your configuration ({self._used}) points to {theirs},"
            " shows the keys of Sigmill in this run: it can load one module only"
        )

    def _entry(self, name: str, section: str, settings: list[str]) -> list[str]:
        """Lines of a provider: more settings in the section that it has, or a section of its own."""
        section_name = self._named.get(name)
        if section_name:
            return [f"[{section_name}]", *settings]
        return [f"[{self._providers}]", f"{name} = {section}", f"[{section}]", *settings]

    def _has_active(self) -> bool:
        values = (self._settings.get(section, "activate") for section in self._named.values())
        return any(value is not None and value.lower() not in _OFF for value in values)

    def _is_pkcs11(self, name: str) -> bool:
        module = self._settings.get(self._named[name], "module") or name
        return name == _NAME or Path(module).name == _LIBRARY
