"""Environment variables and files by which unmodified tools find the agent's token.

p11-kit's client module is the PKCS#11 library of every tool; ``P11_KIT_SERVER_ADDRESS`` tells it the agent's socket.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from queueing.agent.openpgp.gpg import FOLDER_VARIABLE
from queueing.files.folders import entries, is_there
from workers.cli.tools.java_provider import JavaProvider
from workers.cli.tools.openssl_engine import OpenSslEngine
from workers.cli.tools.openssl_provider import OpenSslProvider
from workers.cli.tools.openssl_settings import included, used_file

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

_COUNT: Final = re.compile(r"[0-9]{1,9}")


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
            **self._java_provider(environment).variables(),
            **self._gpg(environment),
        }

    def notes(self, environment: Mapping[str, str], command: Sequence[str]) -> list[str]:
        """Sentences about what of a person's own configuration cannot be kept, or keeps a tool from the agent."""
        provider = self._openssl_provider(environment)
        openssl = [None if provider is None else provider.note(), self._openssl_engine(environment).note()]
        return [*filter(None, openssl), *self._java_provider(environment).notes(command)]

    def _path(self, environment: Mapping[str, str]) -> str:
        """PATH with a folder of our programs at its end, so that it hides none: cosign looks for its plugin there."""
        folder = self.folder / "bin"
        folder.mkdir()
        for name in _ON_PATH:
            (folder / name).symlink_to(_PROGRAMS / name)
        return os.pathsep.join([environment.get("PATH") or os.defpath, str(folder)])

    def _openssl(self, environment: Mapping[str, str]) -> dict[str, str]:
        """A configuration that adds to the one in use what it lacks: pkcs11-provider for ``-inkey pkcs11:…``, the engine's module."""
        provider, engine = self._openssl_provider(environment), self._openssl_engine(environment).lines()
        if provider is None and not engine:
            return {}
        lines = included(used_file(environment)) if provider is None else provider.lines()
        file = self.folder / "openssl.cnf"
        file.write_text("\n".join([*lines, *engine]) + "\n", "utf-8", "surrogateescape")
        return {"OPENSSL_CONF": str(file)}

    def _openssl_provider(self, environment: Mapping[str, str]) -> OpenSslProvider | None:
        library = _installed(self.root, _PROVIDER)
        return None if library is None else OpenSslProvider(library, self.module, environment)

    def _openssl_engine(self, environment: Mapping[str, str]) -> OpenSslEngine:
        return OpenSslEngine(self.module, environment)

    def _java_provider(self, environment: Mapping[str, str]) -> JavaProvider:
        return JavaProvider(self.folder, self.module, environment)

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


def _git(settings: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    """Settings of git behind those that the environment has already (git-config(1), GIT_CONFIG_COUNT)."""
    given = environment.get("GIT_CONFIG_COUNT", "")
    first = int(given) if _COUNT.fullmatch(given) else 0
    made = {"GIT_CONFIG_COUNT": str(first + len(settings))}
    for number, (name, value) in enumerate(settings.items(), start=first):
        made |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    return made
