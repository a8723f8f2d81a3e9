"""Sections of a configuration file of OpenSSL (config(5)), with those that it includes."""

from __future__ import annotations

import itertools
import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from queueing.files.folders import entries

_DEFAULTS: Final = (Path("/etc/ssl/openssl.cnf"), Path("/etc/pki/tls/openssl.cnf"))
"""OpenSSL's own file: of Debian, of Fedora."""

_MOST_FILES: Final = 100
"""More are left out: files that include themselves have no end."""

_LARGEST_CHARACTERS: Final = 1 << 20
_SECTION: Final = re.compile(r"\[\s*([^\]]*?)\s*\]")
_DIRECTIVE: Final = re.compile(r"\.(include|pragma)\b\s*=?\s*(.*)")
_TOKEN: Final = re.compile(r"""\\.|'(?:[^'\\]|\\.)*'?|"(?:[^"\\]|\\.)*"?|.""")
"""An escaped character, what is in quotes, or one character of a line."""

_PART: Final = re.compile(
    r"""'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"|\\(.)|\$(?:\{([^}]*)\}|\(([^)]*)\)|((?:\w+::)?\w+))"""
)
"""Of a value: in quotes, an escaped character, or a reference to another value."""

_ESCAPED: Final = re.compile(r"\\(.)")


class OpenSslSettings:
    """Settings by section; what is in no section is in ``default``. What cannot be read is not there, as for OpenSSL."""

    def __init__(self, file: Path, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._sections: dict[str, dict[str, str]] = {}
        self._section = "default"
        self._includes = environment.get("OPENSSL_CONF_INCLUDE", "")
        self._files = 0
        self._read(file)

    def get(self, section: str, name: str) -> str | None:
        """The value; None where there is none."""
        return self._sections.get(section, {}).get(name)

    def section(self, name: str) -> Mapping[str, str]:
        """Settings of the section, in their order."""
        return self._sections.get(name, {})

    def _read(self, file: Path) -> None:
        self._files += 1
        if self._files > _MOST_FILES:
            return
        try:
            files = [each for each in entries(file) if each.suffix in (".cnf", ".conf")]
        except OSError:
            for line in _lines(read_text(file)):
                self._take(line)
            return
        for each in files:
            self._read(each)

    def _take(self, line: str) -> None:
        if directive := _DIRECTIVE.match(line):
            self._obey(directive[1], directive[2])
        elif section := _SECTION.match(line):
            self._section = section[1]
        else:
            name, equals, value = line.partition("=")
            if equals:
                section_name, inside, own = name.strip().rpartition("::")
                settings = self._sections.setdefault(section_name if inside else self._section, {})
                settings[own] = self._expanded(value.strip())

    def _obey(self, directive: str, value: str) -> None:
        if directive == "include":
            self._read(Path(self._includes, self._expanded(value)))
            return
        name, _, wanted = value.partition(":")
        if name.strip() == "includedir":
            self._includes = self._includes or wanted.strip()

    def _expanded(self, value: str) -> str:
        return _PART.sub(self._meant, value)

    def _meant(self, found: re.Match[str]) -> str:
        single, double, escaped, *references = found.groups()
        name = next(filter(None, references), None)
        if name is not None:
            return self._referred(name)
        return _ESCAPED.sub(r"\1", single or double or "") or escaped or ""

    def _referred(self, name: str) -> str:
        section, inside, own = name.rpartition("::")
        if inside:
            return (self._environment if section == "ENV" else self.section(section)).get(own, "")
        return self.section(self._section).get(own) or self.section("default").get(own, "")


def used_file(environment: Mapping[str, str]) -> Path:
    """The file that OpenSSL reads; an empty OPENSSL_CONF says none, as /dev/null does."""
    given = environment.get("OPENSSL_CONF")
    if given is not None:
        return Path(given or os.devnull).absolute()
    return next((file for file in _DEFAULTS if os.path.exists(file)), _DEFAULTS[0])  # noqa: PTH110


def included(file: Path) -> list[str]:
    """The line that includes the file; none where there is nothing in it."""
    return [f".include {quoted(str(file))}"] if read_text(file) else []


def read_text(file: Path) -> str:
    """Text of a regular file, at most its first MiB; none of one that cannot be read."""
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            return ""  # a pipe has no end, or one reader
        with file.open(encoding="utf-8", errors="surrogateescape") as opened:
            return opened.read(_LARGEST_CHARACTERS)
    except (OSError, ValueError):
        return ""


def quoted(text: str) -> str:
    """The text as a value of a configuration file, whatever is in it."""
    return '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'


def _lines(text: str) -> Iterator[str]:
    """Lines without comments and blanks around them; those that a backslash joins are one."""
    before = ""
    for line in text.split("\n"):
        whole = before + _without_comment(line)
        before = ""
        if whole.endswith("\\"):
            before = whole[:-1]
        elif whole.strip():
            yield whole.strip()


def _without_comment(line: str) -> str:
    return "".join(itertools.takewhile(lambda part: part != "#", _TOKEN.findall(line)))
