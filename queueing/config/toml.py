"""Reading TOML into typed settings, so that every mistake names file, key path and remedy."""

from __future__ import annotations

import difflib
import errno
import re
import tomllib
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from queueing.errors import ConfigError
from queueing.files.regular_file import read_regular

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

T = TypeVar("T")

LARGEST_BYTES: Final = 1024 * 1024
"""A tenant's file with 1,000 clients and 1,000 keys has about 700 kB."""

_DEEPEST: Final = 16
"""The deepest key of ours is five tables and arrays down."""

_LARGEST_NUMBER: Final = 2**63
"""TOML 1.0, section Integer: what every reader has to take. Each key has a narrower range of its own."""

_MOST_DOTS_SQUARED: Final = 4_000_000
"""tomllib takes a time that grows with the square of a key's parts: a line of 2,000 dots takes a second."""

_UNKNOWN_FIELD: Final = re.compile(r"unknown field `([^`]+)`")
_MISSING_FIELD: Final = re.compile(r"missing required field `([^`]+)`")
_STEP: Final = re.compile(r"[^.\[\]]+|\[[^\]]*\]")
_INVALID_CHOICE: Final = re.compile(r"Invalid enum value (.+)\Z")
_PLACE: Final = re.compile(r" - at (?:`key` in )?`\$\.?([^`]*)`\Z")


def read_toml(file: Path) -> dict[str, Any]:
    """The tables of a TOML file; ``ConfigError`` when it is missing, unreadable or not TOML."""
    return parse_toml(file, read_text(file))


def read_text(file: Path) -> str:
    """The text of a configuration file, without a byte order mark, and with line feeds as line ends.

    ``ConfigError`` when it is missing, unreadable, no regular file, larger than 1 MiB, or not UTF-8.
    """
    try:
        text = read_regular(file, largest_bytes=LARGEST_BYTES).decode("utf-8-sig")
        return text.replace("\r\n", "\n").replace("\r", "\n")
    except FileNotFoundError:
        raise ConfigError(
            str(file), "", "the file does not exist", "Create it, or name the right one."
        ) from None
    except OSError as error:
        remedy = "Check owner and mode."
        if error.errno in {errno.EINVAL, errno.EFBIG, errno.EISDIR}:
            remedy = "Name the configuration file; one has at most 1 MiB."
        raise ConfigError(str(file), "", f"cannot be read ({error.strerror})", remedy) from None
    except UnicodeDecodeError:
        raise ConfigError(str(file), "", "is not UTF-8", "Save it as UTF-8.") from None


def parse_toml(file: Path, text: str) -> dict[str, Any]:
    """The tables in ``text``, the content of ``file``; ``ConfigError`` when it is not TOML, or nested too deeply.

    No text of ``read_text`` makes it raise anything else, nor take longer than seconds.
    """
    if sum(line.count(".") ** 2 for line in text.splitlines()) > _MOST_DOTS_SQUARED:
        raise ConfigError(str(file), "", "has a line with too many dots", "Write long lists one item a line.")
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(str(file), "", f"is not TOML: {error}", "Correct the line that is named.") from None
    except RecursionError:
        raise _nested(file, "") from None
    except (
        ValueError
    ) as error:  # an integer of more than 4,300 digits, a date that the calendar does not have
        raise ConfigError(str(file), "", f"is not TOML: {error}", "Correct that value.") from None
    _check_values(file, tables)
    return tables


def _check_values(file: Path, tables: dict[str, Any]) -> None:
    """Refuse what no key of ours takes, and what the code behind it would stumble over: it recurses, and opens files."""
    waiting: list[tuple[str, int, object]] = [("", 0, tables)]
    while waiting:
        path, depth, value = waiting.pop()
        if depth > _DEEPEST:
            raise _nested(file, path)
        if isinstance(value, dict):
            _check_text(file, path, "\n".join(value))
            waiting += [(f"{path}.{name}".lstrip("."), depth + 1, inner) for name, inner in value.items()]
        elif isinstance(value, list):
            waiting += [(f"{path}[{i}]", depth + 1, inner) for i, inner in enumerate(value)]
        elif isinstance(value, str):
            _check_text(file, path, value)
        elif isinstance(value, int | float) and not abs(value) < _LARGEST_NUMBER:  # nor nan
            raise ConfigError(str(file), path, "is out of range", "Write a number that the key allows.")


def _check_text(file: Path, path: str, text: str) -> None:
    if "\0" in text:
        raise ConfigError(str(file), path, "has a NUL character", "Remove it: no name or path has one.")


def _nested(file: Path, path: str) -> ConfigError:
    return ConfigError(
        str(file), path[:80], f"is nested more than {_DEEPEST} deep", "Remove it: no key has such a value."
    )


def convert(file: Path, path: str, value: object, kind: type[T]) -> T:
    """``value`` as ``kind``, strictly; ``path`` is its place in the file (``tokens.acme``)."""
    try:
        return msgspec.convert(value, kind, strict=True)
    except msgspec.ValidationError as error:
        raise _explain(str(file), path, str(error), kind, value) from None


def _explain(file: str, path: str, text: str, kind: type[object], value: object) -> ConfigError:
    """Values are shown where a number is out of range or a choice is none; elsewhere they may be secrets."""
    place = _PLACE.search(text)
    problem = text[: place.start()] if place else text
    inner = place.group(1) if place else ""
    where = ".".join(part for part in (path, inner) if part)
    unknown, missing = _UNKNOWN_FIELD.search(problem), _MISSING_FIELD.search(problem)
    choice = _INVALID_CHOICE.search(problem)
    if unknown:
        name = unknown.group(1)
        remedy = nearest(name, _fields_at(inner, kind))
        return ConfigError(file, f"{where}.{name}".lstrip("."), "this key is not known", remedy)
    if missing:
        return ConfigError(file, f"{where}.{missing.group(1)}".lstrip("."), "is missing", "Add it.")
    if choice:
        remedy = nearest(choice.group(1).strip("'"), _choices_at(inner, kind))
        return ConfigError(file, where, f"{choice.group(1)} is not possible here", remedy)
    if ">" in problem or "<" in problem:
        problem = f"is {_value_at(inner, value)!r}: {problem[:1].lower()}{problem[1:]}"
        return ConfigError(file, where, problem, "Write a value in that range.")
    return ConfigError(file, where, problem, "Write a value of the kind that is expected.")


def nearest(name: str, known: Collection[str]) -> str:
    """The remedy for an unknown name: the one that was meant, or all that there are."""
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f"Did you mean `{near[0]}`?"
    return f"Known here: {', '.join(sorted(known))}." if known else "Remove it."


def _fields_at(place: str, kind: type[object]) -> list[str]:
    """The keys known at a place such as ``redis.tls`` or ``versions[0]``."""
    info = _struct_of(_type_at(place, kind))
    return [f.encode_name for f in info.fields] if isinstance(info, msgspec.inspect.StructType) else []


def _choices_at(place: str, kind: type[object]) -> list[str]:
    """The values that an enumeration or a ``Literal`` allows at a place."""
    info = _type_at(place, kind)
    for form in getattr(info, "types", (info,)):
        if isinstance(form, msgspec.inspect.EnumType):
            return [str(member.value) for member in form.cls]
        if isinstance(form, msgspec.inspect.LiteralType):
            return [str(value) for value in form.values]
    return []


def _type_at(place: str, kind: type[object]) -> Any:
    """The type at a place, by walking the structs' types; None where the walk ends in the open."""
    info: Any = msgspec.inspect.type_info(kind)
    for step in _STEP.findall(place):
        info = _struct_of(info)
        if step.startswith("["):
            info = getattr(info, "value_type", getattr(info, "item_type", None))
        elif isinstance(info, msgspec.inspect.StructType):
            info = next((field.type for field in info.fields if field.encode_name == step), None)
    return info


def _value_at(place: str, value: Any) -> Any:
    for step in _STEP.findall(place):
        if step.startswith("[") and not step[1:-1].isdecimal():
            return None
        value = value[int(step[1:-1])] if step.startswith("[") else value[step]
    return value


def _struct_of(info: Any) -> Any:
    """Look through ``X | None`` and metadata to the form that has keys or items."""
    while True:
        if isinstance(info, msgspec.inspect.Metadata):
            info = info.type
        elif isinstance(info, msgspec.inspect.UnionType):
            known = (msgspec.inspect.StructType, msgspec.inspect.DictType)
            info = next((t for t in info.types if isinstance(t, known)), None)
        else:
            return info
