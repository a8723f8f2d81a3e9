"""The part of gpg's command line that programs use to sign (gpg(1)); anything else is gpg's own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

_COMMANDS: Final = {
    "--detach-sign": "detach",
    "--detach-sig": "detach",
    "-b": "detach",
    "--clearsign": "clear",
    "--clear-sign": "clear",
    "--sign": "sign",
    "-s": "sign",
}
_WITH_VALUE: Final = frozenset(
    [
        "-u",
        "-o",
        "-r",
        "-z",
        "-N",
        "--local-user",
        "--default-key",
        "--output",
        "--status-fd",
        "--status-file",
        "--digest-algo",
        "--cert-digest-algo",
        "--homedir",
        "--passphrase",
        "--passphrase-fd",
        "--passphrase-file",
        "--pinentry-mode",
        "--list-options",
        "--verify-options",
        "--keyid-format",
        "--compress-algo",
        "--compress-level",
        "--personal-digest-preferences",
        "--logger-fd",
        "--logger-file",
        "--attribute-fd",
        "--command-fd",
        "--comment",
        "--charset",
        "--display-charset",
        "--trust-model",
        "--options",
        "--keyring",
        "--secret-keyring",
        "--trustdb-name",
        "--cipher-algo",
        "--set-notation",
        "--sig-notation",
        "--sig-policy-url",
        "--set-filename",
        "--weak-digest",
        "--faked-system-time",
        "--recipient",
    ]
)
_DESCRIPTOR: Final = re.compile(r"[0-9]{1,9}")
_FLAGS_SHORT: Final = frozenset(["-a", "-t", "-v", "-q", "-n"])


class NotSigning(Exception):
    """A command line that does not sign, or not in a way that this program knows: it is gpg's."""


class SignOptions(NamedTuple):
    """Options of one signature.

    ``mode``: ``detach`` or ``clear``. ``file`` None is stdin; ``output`` None is stdout, or a file beside ``file``. ``yes``:
    an existing file may be replaced.
    """

    mode: str
    armor: bool
    user: str | None
    output: str | None
    status_fd: int | None
    digest: str | None
    file: str | None
    yes: bool = False


def read_options(arguments: Sequence[str]) -> SignOptions:
    """Read a command line that signs; raises ``NotSigning``."""
    modes: set[str] = set()
    values: dict[str, str] = {}
    files: list[str] = []
    armor = False
    for name, value in _options(arguments):
        if not name:
            files.append(value)
        elif name in _COMMANDS:
            modes.add(_COMMANDS[name])
        elif name in ("-a", "--armor", "--no-armor"):
            armor = name != "--no-armor"
        else:
            values[name] = value
    if modes - {"sign"} not in ({"detach"}, {"clear"}) or len(files) > 1:
        raise NotSigning
    user = values.get("-u") or values.get("--local-user") or values.get("--default-key")
    status = values.get("--status-fd")
    digest = values.get("--digest-algo")
    return SignOptions(
        mode=(modes - {"sign"}).pop(),
        armor=armor,
        user=user,
        output=values.get("-o") or values.get("--output"),
        status_fd=int(status) if status is not None and _DESCRIPTOR.fullmatch(status) else None,
        digest=None if digest is None else digest.lower(),
        file=None if not files or files[0] == "-" else files[0],
        yes="--yes" in values,
    )


def _options(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Options with their values; files have the name ''. Short options may be joined, as in ``-sbo FILE``."""
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word == "--":
            yield from (("", file) for file in rest)
            return
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            if name in _WITH_VALUE and not equals:
                value = _value(rest)
            yield name, value
        elif word.startswith("-") and len(word) > 1:
            yield from _short(word[1:], rest)
        else:
            yield "", word


def _short(letters: str, rest: list[str]) -> Iterator[tuple[str, str]]:
    for position, letter in enumerate(letters):
        name = f"-{letter}"
        if name in _WITH_VALUE:
            yield name, letters[position + 1 :] or _value(rest)
            return
        if name not in _FLAGS_SHORT and name not in _COMMANDS:
            raise NotSigning
        yield name, ""


def _value(rest: list[str]) -> str:
    if not rest:
        raise NotSigning
    return rest.pop(0)
