"""Environment variables and files by which unmodified tools find the agent's token.

p11-kit's client module is the PKCS#11 library of every tool; ``P11_KIT_SERVER_ADDRESS`` tells it the agent's socket.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from queueing.agent.openpgp.gpg import FOLDER_VARIABLE
from queueing.files.folders import entries, is_there

MODULE_VARIABLE: Final = "SIGMILL_PKCS11_MODULE"
"""Set for the command, for tools that want the module's path as an argument; set by a person, it names the module to use."""

_MODULE: Final = "pkcs11/p11-kit-client.so"
_PROVIDER: Final = "ossl-modules/pkcs11.so"
"""pkcs11-provider, for OpenSSL 3 and later. The engine of libp11 needs no configuration."""

_PROGRAMS: Final = Path(sys.executable).parent
"""Our programs beside this interpreter, as pip installs them."""

GPG: Final = str(_PROGRAMS / "sigmill-gpg")
_ON_PATH: Final = ("sigmill-gpg", "sigstore-kms-sigmill")
"""Programs that others look for by name."""

INSTALL_HINT: Final = "Install p11-kit's modules: p11-kit-modules on Debian, p11-kit-server on Fedora."

_OPENSSL_DEFAULT: Final = Path("/etc/ssl/openssl.cnf")
_OPENSSL_START: Final = re.compile(r"^\s*openssl_conf\s*=\s*([\w.-]+)", re.MULTILINE)
_COUNT: Final = re.compile(r"[0-9]{1,9}")
_JAVA_PROVIDER: Final = re.compile(r"^\s*security\.provider\.(\d+)\s*=", re.MULTILINE)


def client_module(environment: Mapping[str, str], root: Path = Path("/usr")) -> str | None:
    """Path of ``p11-kit-client.so``; None where it is not installed."""
    given = environment.get(MODULE_VARIABLE)
    return given or _installed(root, _MODULE)


def _installed(root: Path, name: str) -> str | None:
    """The library, from where distributions have libraries: Debian by architecture (``lib/x86_64-linux-gnu``)."""
    folders = [root / "lib64", root / "lib"]
    with contextlib.suppress(OSError):
        folders[:0] = entries(root / "lib", suffix="-linux-gnu")
    return next((str(folder / name) for folder in folders if is_there(folder / name)), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolEnvironment:
    """Environment of one command, and the files in ``folder`` that it names.

    ``module``: path of ``p11-kit-client.so``. ``root``: of the installed libraries.
    ``pgp``: content of OpenPGP certificates by the name of the key.
    """

    folder: Path
    module: str
    root: Path = Path("/usr")
    pgp: Mapping[str, bytes] = field(default_factory=dict)

    def variables(self, address: str, environment: Mapping[str, str]) -> dict[str, str]:
        """Write the files, and return what is to be set on top of ``environment``; ``address`` is the agent's.

        Raises ``OSError``.
        """
        return {
            "P11_KIT_SERVER_ADDRESS": address,
            MODULE_VARIABLE: self.module,
            "PKCS11_MODULE_PATH": self.module,  # libp11's engine
            "PKCS11_PROVIDER_MODULE": self.module,  # pkcs11-provider
            "PATH": self._path(environment),
            **self._openssl(environment),
            **self._java(environment),
            **self._gpg(environment),
        }

    def _path(self, environment: Mapping[str, str]) -> str:
        """PATH with a folder of our programs at its end, so that it hides none: cosign looks for its plugin there."""
        folder = self.folder / "bin"
        folder.mkdir()
        for name in _ON_PATH:
            (folder / name).symlink_to(_PROGRAMS / name)
        return os.pathsep.join([environment.get("PATH") or os.defpath, str(folder)])

    def _openssl(self, environment: Mapping[str, str]) -> dict[str, str]:
        """A configuration that adds pkcs11-provider to the one that is in use: ``openssl -inkey pkcs11:…`` then works."""
        provider = _installed(self.root, _PROVIDER)
        if provider is None:
            return {}
        used = Path(environment.get("OPENSSL_CONF") or _OPENSSL_DEFAULT)
        text = _read(used)
        start = _OPENSSL_START.search(text)
        section = start[1] if start else "sigmill_init"
        lines = [f".include = {used}"] if text else []
        lines += [
            "[default]",
            f"openssl_conf = {section}",
            f"[{section}]",
            "providers = sigmill_providers",
            "[sigmill_providers]",
            "default = sigmill_default",
            "pkcs11 = sigmill_pkcs11",
            "[sigmill_default]",
            "activate = 1",
            "[sigmill_pkcs11]",
            f"module = {provider}",
            f"pkcs11-module-path = {self.module}",
            "activate = 1",
        ]
        return {"OPENSSL_CONF": self._write("openssl.cnf", lines)}

    def _java(self, environment: Mapping[str, str]) -> dict[str, str]:
        """A security property file that adds SunPKCS11 behind the JDK's own providers: ``-keystore NONE -storetype PKCS11``."""
        settings = _java_security(environment)
        if settings is None:
            return {}
        configuration = self._write(
            "java-provider.cfg",
            ["name = Sigmill", f"library = {json.dumps(self.module)}", "slotListIndex = 0"],
        )
        numbers = [int(number) for number in _JAVA_PROVIDER.findall(_read(settings))]
        position = max(numbers, default=12) + 1
        properties = self._write("java.security", [f"security.provider.{position}=SunPKCS11 {configuration}"])
        options = (
            f"{environment.get('JAVA_TOOL_OPTIONS', '')} -Djava.security.properties={_java_word(properties)}"
        )
        return {"JAVA_TOOL_OPTIONS": options.strip(), "SIGMILL_JAVA_PROVIDER": configuration}

    def _gpg(self, environment: Mapping[str, str]) -> dict[str, str]:
        """The folder in which ``sigmill-gpg`` looks for certificates; git signs by it, with the key if there is one."""
        if not self.pgp:
            return {}
        folder = self.folder / "pgp"
        folder.mkdir()
        for name, raw in self.pgp.items():
            (folder / f"{name}.asc").write_bytes(raw)
        settings = {"gpg.format": "openpgp", "gpg.program": GPG}  # a person's own may be ssh
        if len(self.pgp) == 1:
            settings["user.signingKey"] = next(iter(self.pgp))
        return {FOLDER_VARIABLE: str(folder), **_git(settings, environment)}

    def _write(self, name: str, lines: list[str]) -> str:
        file = self.folder / name
        file.write_text("\n".join(lines) + "\n", "utf-8")
        return str(file)


def _git(settings: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    """Settings of git behind those that the environment has already (git-config(1), GIT_CONFIG_COUNT)."""
    given = environment.get("GIT_CONFIG_COUNT", "")
    first = int(given) if _COUNT.fullmatch(given) else 0
    made = {"GIT_CONFIG_COUNT": str(first + len(settings))}
    for number, (name, value) in enumerate(settings.items(), start=first):
        made |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    return made


def _java_security(environment: Mapping[str, str]) -> Path | None:
    """``java.security`` of the JDK that JAVA_HOME or PATH names; None without one."""
    home = environment.get("JAVA_HOME")
    java = Path(home) / "bin/java" if home else shutil.which("java", path=environment.get("PATH"))
    if java is None:
        return None
    top = Path(java).resolve().parent.parent
    found = (top / "conf/security/java.security", top / "lib/security/java.security")
    return next((file for file in found if is_there(file)), None)


def _java_word(text: str) -> str:
    """A word of JAVA_TOOL_OPTIONS, which the JVM cuts at blanks outside of quotes."""
    if not any(each.isspace() for each in text):
        return text
    return f"'{text}'" if '"' in text else f'"{text}"'


def _read(file: Path) -> str:
    try:
        return file.read_text("utf-8", errors="replace")
    except OSError:
        return ""
