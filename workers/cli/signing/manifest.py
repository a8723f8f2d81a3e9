"""Manifests: JSON lines, or the output of ``sha256sum``, ``sha384sum`` or ``sha512sum``, line by line.

A line that cannot be read is an item with an error, in its place; the others are signed.
"""

from __future__ import annotations

import re
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

import click
import msgspec

from queueing.errors import InputUnreadable, SigningError
from workers.cli.signing.items import Item, item_of_digest, name_from_json

_CHUNK_BYTES: Final = 1 << 16
_MOST_LINE_BYTES: Final = 1 << 20
"""Longest line; the longest name that a file can have is 4,096 bytes."""

_HASH_OF_DIGITS: Final = {64: "sha256", 96: "sha384", 128: "sha512"}
_SUM_LINE: Final = re.compile(rb"(\\?)([0-9a-fA-F]{32,128}) [ *](.+)", re.DOTALL)
"""As coreutils write it: "\\" if the name is escaped, the digest, " " (text) or "*" (binary), the name."""

_TAGGED_LINE: Final = re.compile(rb"(\\?)SHA(256|384|512) \((.+)\) = ([0-9a-fA-F]{64,128})", re.DOTALL)
"""As ``sha256sum --tag``, ``cksum -a sha256`` and the BSDs write it."""

_ESCAPES: Final = {rb"\\": b"\\", rb"\n": b"\n", rb"\r": b"\r"}
_ESCAPE: Final = re.compile(rb"\\[\\nr]")


class _Line(msgspec.Struct, frozen=True):
    digest: str
    name: str | None = None
    name_bytes: str = ""


_decoder: Final = msgspec.json.Decoder(_Line)


def is_stream(manifest: Path) -> bool:
    """Whether the manifest can be read only once: stdin or a pipe. Raises ``click.UsageError`` for what is no file."""
    if str(manifest) == "-":
        return True
    return not stat.S_ISREG(_check_is_file(manifest))


def _check_is_file(manifest: Path) -> int:
    """Mode of a file or pipe. A device has no end, and a folder no lines: ``click.UsageError``."""
    try:
        mode = manifest.stat().st_mode
    except (OSError, ValueError) as error:
        raise _unreadable(manifest, error) from None
    if stat.S_ISDIR(mode) or stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        raise click.UsageError(f"{manifest}: this is a folder or a device, not a file of lines")
    return mode


def open_manifest(manifest: Path) -> BinaryIO:
    """The manifest's bytes; raises ``click.UsageError``, also for what is no file of lines."""
    if str(manifest) == "-":
        return sys.stdin.buffer
    _check_is_file(manifest)
    try:
        return manifest.open("rb")
    except (OSError, ValueError) as error:
        raise _unreadable(manifest, error) from None


def batches_of(file: BinaryIO) -> Iterator[list[tuple[int, bytes | None]]]:
    """Lines with their numbers, as they come; None instead of a line of more than 1 MiB. Empty lines are left out.

    A batch has what one read brought: of a stream, what its writer has written so far.

    Raises ``click.UsageError`` if the file cannot be read on.
    """
    number, rest, too_long = 1, b"", False
    while True:
        try:
            chunk = file.read1(_CHUNK_BYTES) if hasattr(file, "read1") else file.read(_CHUNK_BYTES)
        except OSError as error:
            raise click.UsageError(f"line {number} cannot be read: {error.strerror}") from None
        if not chunk:
            break
        *whole, rest = (rest + chunk).split(b"\n")
        batch: list[tuple[int, bytes | None]] = []
        for line in whole:
            if too_long or line.strip():
                batch.append((number, None if too_long else line))
            number, too_long = number + 1, False
        yield batch
        if len(rest) > _MOST_LINE_BYTES:
            rest, too_long = b"", True
    if too_long or rest.strip():
        yield [(number, None if too_long else rest)]


def item_of_line(location: str, line: bytes | None) -> Item:
    """Item of one line; ``location`` (FILE:LINE) is its name if it has none."""
    if line is None:
        return Item(name=location, error=InputUnreadable("the line is longer than 1 MiB"))
    line = line.rstrip(b"\r")
    if summed := _SUM_LINE.fullmatch(line):
        escaped, digits, name = summed.groups()
        return _item_of_sum(location, escaped=escaped, digits=digits, name=name)
    if summed := _TAGGED_LINE.fullmatch(line):
        escaped, bits, name, digits = summed.groups()
        if len(digits) * 4 != int(bits):
            return Item(name=location, error=InputUnreadable(f"this is no SHA-{bits.decode()} digest"))
        return _item_of_sum(location, escaped=escaped, digits=digits, name=name)
    try:
        entry = _decoder.decode(line)
        name = name_from_json(entry.name or "", entry.name_bytes)
    except UnicodeDecodeError:
        problem = "the line is not UTF-8; a name that is not UTF-8 goes into name_bytes, in base64"
        return Item(name=location, error=InputUnreadable(problem))
    except RecursionError:
        return Item(name=location, error=InputUnreadable("the line is nested too deeply"))
    except msgspec.MsgspecError:
        problem = 'the line is neither {"name": …, "digest": "ALG:HEX"} nor a line of sha256sum'
        return Item(name=location, error=InputUnreadable(problem))
    except SigningError as error:
        return Item(name=location, error=error)
    return item_of_digest(name or entry.digest, entry.digest)


def _item_of_sum(location: str, *, escaped: bytes, digits: bytes, name: bytes) -> Item:
    if b"\0" in name:  # the rest of the line are further items, which would be taken for its name
        problem = "the line has a NUL, as of `sha256sum --zero`: write the sums without this option"
        return Item(name=location, error=InputUnreadable(problem))
    raw = _ESCAPE.sub(lambda found: _ESCAPES[found.group()], name) if escaped else name
    hash_name = _HASH_OF_DIGITS.get(len(digits))
    if hash_name is None:
        problem = (
            f"a digest of {len(digits)} hex digits is none of SHA-256, SHA-384 and SHA-512 (64, 96, 128)"
        )
        return Item(name=location, error=InputUnreadable(problem))
    return item_of_digest(raw.decode("utf-8", "surrogateescape"), f"{hash_name}:{digits.decode()}")


def _unreadable(manifest: Path, error: OSError | ValueError) -> click.UsageError:
    return click.UsageError(f"{manifest}: {getattr(error, 'strerror', None) or error}")
