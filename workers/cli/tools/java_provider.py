"""Options of the JVM that add the provider SunPKCS11 with the agent's module, behind the JDK's own and a person's."""

from __future__ import annotations

import json
import re
import shutil
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

from queueing.files.folders import is_there
from workers.cli.tools.openssl_settings import read_text

_READ_ALWAYS: Final = "JAVA_TOOL_OPTIONS"
_LATER: Final = ("JDK_JAVA_OPTIONS", "_JAVA_OPTIONS")
"""Variables whose options win over those before: of the program ``java``, of every JVM."""

_OPTION: Final = "-Djava.security.properties="
_WORD: Final = re.compile(r"""(?:[^\s'"]|'[^']*'|"[^"]*")+""")
_QUOTED: Final = re.compile(r"""'([^']*)'|"([^"]*)\"""")
_NUMBER: Final = re.compile(r"^[ \t\f]*security\.provider\.([0-9]{1,4})[ \t\f]*[=: \t]", re.MULTILINE)
_INCLUDE: Final = re.compile(r"^[ \t\f]*include[ \t\f=:]", re.MULTILINE)
_LARGEST_BYTES: Final = 1 << 20


class _Own(NamedTuple):
    """A person's option. ``alone``: their file is read in place of the JDK's (``==``). ``content`` None: it cannot be taken over."""

    name: str
    alone: bool
    content: bytes | None


class JavaProvider:
    """Variables of the JVM for one command, and the files in ``folder`` that they name; ``module`` is to be loaded."""

    def __init__(self, folder: Path, module: str, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._module = module
        self._environment = environment
        self._jdk = _java_security(environment)

    def variables(self) -> dict[str, str]:
        """Write the files, and return what is to be set; nothing without a JDK. Raises ``OSError``."""
        if self._jdk is None:
            return {}
        configuration = self._folder / "java-provider.cfg"
        configuration.write_text(
            f"name = Sigmill\nlibrary = {json.dumps(self._module)}\nslotListIndex = 0\n", "utf-8"
        )
        made = {"SIGMILL_JAVA_PROVIDER": str(configuration)}
        for number, variable in enumerate((_READ_ALWAYS, *_LATER)):
            options = self._environment.get(variable, "")
            own = _own(options)
            if (own is None and variable != _READ_ALWAYS) or (own is not None and own.content is None):
                continue
            file = self._folder / f"java{number or ''}.security"
            file.write_bytes(self._properties(read_text(self._jdk), own, configuration))
            alone = "=" if own is not None and own.alone else ""
            made[variable] = f"{options} {_OPTION}{alone}{_java_word(str(file))}".strip()
        return made

    def notes(self, command: Sequence[str]) -> list[str]:
        """Sentences about options by which tools of Java do not find the agent; none without a JDK."""
        if self._jdk is None:
            return []
        read = (_READ_ALWAYS, *_LATER)
        found = {variable: _own(self._environment.get(variable, "")) for variable in read}
        notes = [
            f"{variable} names {own.name}, which cannot be taken into a file of this run and stays as it is: {_HINT}"
            for variable, own in found.items()
            if own is not None and own.content is None
        ]
        others = [name for name, value in self._environment.items() if name not in found and _OPTION in value]
        others = sorted(others) + ["the command"] * any(_OPTION in word for word in command)
        notes += [f"{name} has {_OPTION.rstrip('=')}, which wins: {_HINT}" for name in others]
        return notes

    @staticmethod
    def _properties(jdk: str, own: _Own | None, configuration: Path) -> bytes:
        """A person's properties, and the provider under the first free number: the JVM reads no number behind one that is missing."""
        theirs = own.content or b"" if own is not None else b""
        known = theirs.decode("latin-1") + ("" if own is not None and own.alone else f"\n{jdk}")
        taken = {int(number) for number in _NUMBER.findall(known)}
        free = next(number for number in range(1, len(taken) + 2) if number not in taken)
        line = f"security.provider.{free}=SunPKCS11 {configuration}\n".encode()
        return theirs + b"\n\n" * bool(theirs) + line


_HINT: Final = (
    "give tools of Java `-providerClass sun.security.pkcs11.SunPKCS11 -providerArg $SIGMILL_JAVA_PROVIDER`"
)


def _own(options: str) -> _Own | None:
    """The last file that the options name, which wins; None where they name none."""
    words = [_QUOTED.sub(lambda found: found[1] or found[2] or "", word) for word in _WORD.findall(options)]
    names = [word.removeprefix(_OPTION) for word in words if word.startswith(_OPTION)]
    if not names:
        return None
    name = names[-1].removeprefix("=")
    return _Own(name, names[-1].startswith("="), _content(name))


def _content(name: str) -> bytes | None:
    """The file, as bytes; None for one that is not here or would mean something else in another place."""
    file = Path(unquote(urlsplit(name).path) if name.startswith("file:") else name)
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            return None
        with file.open("rb") as opened:
            content = opened.read(_LARGEST_BYTES + 1)
    except (OSError, ValueError):
        return None
    if len(content) > _LARGEST_BYTES or _INCLUDE.search(content.decode("latin-1")):
        return None
    return content


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
