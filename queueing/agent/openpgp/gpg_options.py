"""The part of gpg's command line that programs use to sign (gpg(1)); anything else is gpg's own."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Sequence
from typing import Final, NamedTuple

from queueing.agent.openpgp.gpg_option_names import (
    COMMANDS,
    DRY_RUN,
    FLAGS,
    FLAGS_SHORT,
    NO_MATTER,
    REFUSED,
    REFUSED_WITH_VALUE,
    TEXT_MODE,
)
from queueing.agent.openpgp.packets import HASHES

_WITH_VALUE: Final = NO_MATTER | REFUSED_WITH_VALUE.keys()
_DESCRIPTOR: Final = re.compile(r"[0-9]{1,9}")
_NEVER_EXPIRES: Final = frozenset(["0", "none", "never", "-"])
_HASH_NUMBERS: Final = {f"h{number}": name for name, number in HASHES.items()}


class NotSigning(Exception):
    """A command line that does not sign, or not in a way that this program knows: it is gpg's."""


class NotObeyed(Exception):
    """An option of a command line that signs, by which the signature would be another one than `sigmill-gpg` makes."""

    def __init__(self, option: str, why: str) -> None:
        super().__init__(f"{option} cannot be obeyed: {why}. Nothing was signed; leave the option out")


class SignOptions(NamedTuple):
    """Options of one signature.

    ``mode``: ``detach`` or ``clear``. ``file`` None is stdin; ``output`` None is stdout, or a file beside ``file``. ``digest``: the hash
    that must be used; ``preferred``: hashes from which one is taken. ``status``: descriptor or file of status lines. ``yes``: an existing
    file may be replaced. ``dry_run``: nothing is to be signed or written.
    """

    mode: str
    armor: bool
    user: str | None
    output: str | None
    status: int | str | None
    digest: str | None
    file: str | None
    yes: bool = False
    dry_run: bool = False
    preferred: tuple[str, ...] = ()


def read_options(arguments: Sequence[str]) -> SignOptions:
    """Read a command line that signs; raises ``NotSigning``, and ``NotObeyed`` for one whose signature would be another one."""
    modes: set[str] = set()
    values: dict[str, str] = {}
    files: list[str] = []
    given = list(_options(arguments))
    for name, value in given:
        if not name:
            files.append(value)
        elif name in COMMANDS:
            modes.add(COMMANDS[name])
        else:
            values[name] = value
    wanted = modes - {"sign"}
    if wanted not in ({"detach"}, {"clear"}):
        raise NotSigning
    _check(given, detached="detach" in wanted)
    if len(files) > 1:
        raise NotSigning
    digest = values.get("--digest-algo")
    return SignOptions(
        mode="clear" if "clear" in modes else "detach",
        armor=_is_on(given, {"-a", "--armor"}, "--no-armor"),
        user=values.get("-u") or values.get("--local-user") or values.get("--default-key"),
        output=_last(given, "-o", "--output")[1] or None,
        status=_descriptor_or_file(*_last(given, "--status-fd", "--status-file")),
        digest=None if digest is None else _hash(digest),
        file=None if not files or files[0] == "-" else files[0],
        yes="--yes" in values,
        dry_run=not values.keys().isdisjoint(DRY_RUN),
        preferred=tuple(
            _hash(name) for name in values.get("--personal-digest-preferences", "").replace(",", " ").split()
        ),
    )


def log_target(arguments: Sequence[str]) -> int | str | None:
    """Descriptor or file for the messages of a command line that signs; None is stderr. A file counts before a descriptor, as in gpg."""
    given = list(_options(arguments))
    file = _last(given, "--log-file", "--logger-file")[1]
    return file or _descriptor_or_file(*_last(given, "--logger-fd"))


def _check(given: Sequence[tuple[str, str]], *, detached: bool) -> None:
    """Raise ``NotObeyed`` for an option that changes a signature, and for one that is not known: it may do so."""
    for name, value in given:
        why = REFUSED_WITH_VALUE.get(name) or REFUSED.get(name) or _refused_value(name, value)
        if why is None and name and name not in COMMANDS and name not in FLAGS and name not in NO_MATTER:
            why = "sigmill-gpg does not know what it changes in a signature"
        if why is not None:
            raise NotObeyed(name, why)
    if detached and _is_on(given, TEXT_MODE, "--no-textmode"):
        raise NotObeyed("--textmode", "detached signatures are those of the bytes of a file")
    if len({value for name, value in given if name in ("-u", "--local-user")}) > 1:
        raise NotObeyed("--local-user", "one key signs, and several are named")


def _refused_value(name: str, value: str) -> str | None:
    if name == "--default-sig-expire" and value not in _NEVER_EXPIRES:
        return "signatures that sigmill-gpg makes do not expire"
    if name == "--options" and value != os.devnull:
        return "sigmill-gpg reads no files of options"
    return None


def _last(given: Sequence[tuple[str, str]], *names: str) -> tuple[str, str]:
    """The last of these options with its value, which is the one that counts; two empty texts where none is given."""
    return next(((name, value) for name, value in reversed(given) if name in names), ("", ""))


def _descriptor_or_file(name: str, value: str) -> int | str | None:
    """The descriptor or file that an option ``--…-fd`` or ``--…-file`` names; None for a descriptor that is no number, or no option."""
    if name.endswith("-file"):
        return value
    return int(value) if _DESCRIPTOR.fullmatch(value) else None


def _is_on(given: Sequence[tuple[str, str]], on: Collection[str], off: str) -> bool:
    """Whether the last word about it says so."""
    words = [name for name, _ in given if name in on or name == off]
    return bool(words) and words[-1] != off


def _hash(name: str) -> str:
    """The hash by its name or number (``H8``), in hashlib's words."""
    return _HASH_NUMBERS.get(name.lower(), name.lower())


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
        if name not in FLAGS_SHORT and name not in COMMANDS:
            raise NotSigning
        yield name, ""


def _value(rest: list[str]) -> str:
    if not rest:
        raise NotSigning
    return rest.pop(0)
