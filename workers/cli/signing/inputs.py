"""Items to sign, in input order: files, digests or the lines of a manifest.

Files are hashed in threads while earlier ones are being signed, at most a few hundred ahead. An unreadable item keeps
its place, so that the other items are divided into the same envelopes in a rerun.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import sys
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final, TextIO

import click
import msgspec

from queueing.errors import DigestLength, InputUnreadable, SigningError
from queueing.protocol.algorithms import FACTS, Algorithm

_HASH_BYTES: Final = {"sha256": 32, "sha384": 48, "sha512": 64}
_HEX: Final = re.compile(r"^(?:[0-9a-fA-F]{2})*$")

_FILES_PER_CALL: Final = 16
"""A call into a thread costs about 43 us (design, fact 10), a small file's hash less than that."""

_CALLS_AHEAD: Final = 16
_THREADS: Final = min(8, (os.cpu_count() or 1) + 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One item to sign: its digest, or the error if it has none."""

    name: str
    hash_name: str = ""
    digest: bytes | None = None
    error: SigningError | None = None

    @property
    def digest_text(self) -> str | None:
        """``sha256:HEX``."""
        return None if self.digest is None else f"{self.hash_name}:{self.digest.hex()}"


@dataclass(frozen=True, slots=True)
class Inputs:
    """Inputs of the command line: exactly one of the three kinds."""

    files: tuple[Path, ...]
    digests: tuple[str, ...]
    manifest: Path | None

    def check(self) -> None:
        """Raise ``click.UsageError`` unless exactly one kind is given, with well-formed digests."""
        if sum(map(bool, (self.files, self.digests, self.manifest))) != 1:
            raise click.UsageError("give FILE…, or --digest, or --manifest, and only one of them")
        for text in self.digests:
            if isinstance(_parsed(text, text).error, InputUnreadable):
                raise click.UsageError(f"--digest {text}: write it as sha256:HEX, sha384:HEX or sha512:HEX")

    def count(self) -> int | None:
        """Number of items; None for stdin, which can be read only once."""
        if self.manifest is None:
            return len(self.files) + len(self.digests)
        if str(self.manifest) == "-":
            return None
        try:
            with self.manifest.open("rb") as file:
                return sum(1 for line in file if line.strip())
        except OSError as error:
            raise click.UsageError(f"{self.manifest}: {error.strerror}") from None

    async def read(self, algorithm: Algorithm) -> AsyncIterator[Item]:
        """Items in input order; files are hashed with the algorithm's hash (Ed25519: SHA-256)."""
        if self.files:
            async for item in hashed(self.files, FACTS[algorithm].hash_name or "sha256"):
                yield item
        elif self.manifest is not None:
            for item in _manifest_items(self.manifest):
                yield item
        else:
            for text in self.digests:
                yield _parsed(text, text)


async def hashed(files: Iterable[Path], hash_name: str) -> AsyncIterator[Item]:
    """Hash files in threads, in order, a bounded number ahead."""
    loop = asyncio.get_running_loop()
    source = iter(files)
    ahead: deque[asyncio.Future[list[Item]]] = deque()
    pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="hash")
    try:
        while True:
            while len(ahead) < _CALLS_AHEAD and (group := list(islice(source, _FILES_PER_CALL))):
                ahead.append(loop.run_in_executor(pool, _hash_files, group, hash_name))
            if not ahead:
                return
            for item in await ahead.popleft():
                yield item
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def hash_file(path: Path, hash_name: str) -> Item:
    """Item of one file, which is read in pieces."""
    name = str(path)
    try:
        with path.open("rb") as file:
            return Item(name=name, hash_name=hash_name, digest=hashlib.file_digest(file, hash_name).digest())
    except OSError as error:
        return Item(name=name, error=InputUnreadable(f"the file cannot be read: {error.strerror}"))


def _hash_files(paths: list[Path], hash_name: str) -> list[Item]:
    return [hash_file(path, hash_name) for path in paths]


class _ManifestLine(msgspec.Struct, frozen=True):
    digest: str
    name: str | None = None


_manifest_decoder: Final = msgspec.json.Decoder(_ManifestLine)


def _manifest_items(manifest: Path) -> Iterator[Item]:
    if str(manifest) == "-":
        yield from _lines("stdin", sys.stdin)
        return
    with manifest.open(encoding="utf-8", errors="replace") as file:
        yield from _lines(str(manifest), file)


def _lines(file_name: str, file: TextIO) -> Iterator[Item]:
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        location = f"{file_name}:{number}"
        try:
            entry = _manifest_decoder.decode(line)
        except msgspec.MsgspecError:
            yield Item(
                name=location, error=InputUnreadable('the line is not {"name": …, "digest": "ALG:HEX"}')
            )
        else:
            yield _parsed(entry.name or entry.digest, entry.digest)


def _parsed(name: str, text: str) -> Item:
    hash_name, _, digits = text.partition(":")
    hash_name = hash_name.lower().replace("-", "")
    if hash_name not in _HASH_BYTES or not _HEX.match(digits):
        return Item(
            name=name, error=InputUnreadable("a digest is written sha256:HEX, sha384:HEX or sha512:HEX")
        )
    digest = bytes.fromhex(digits)
    if len(digest) != _HASH_BYTES[hash_name]:
        problem = f"a {hash_name} digest has {_HASH_BYTES[hash_name]} bytes, this has {len(digest)}"
        return Item(name=name, hash_name=hash_name, digest=digest, error=DigestLength(problem))
    return Item(name=name, hash_name=hash_name, digest=digest)
