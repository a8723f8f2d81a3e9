"""Inputs of a command: files, digests or a manifest, as items in input order.

Files are hashed in threads while earlier ones are being signed, at most a few hundred ahead. An unreadable item keeps
its place, so that the other items are divided into the same envelopes in a rerun.
"""

from __future__ import annotations

import asyncio
import codecs
import io
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import click

from queueing.errors import InputUnreadable
from queueing.protocol.algorithms import FACTS, Algorithm
from workers.cli.signing.hashing import HashMeter, hashed
from workers.cli.signing.items import Item, item_of_digest
from workers.cli.signing.manifest import batches_of, is_stream, item_of_line, open_manifest


@dataclass(frozen=True, slots=True)
class Inputs:
    """Inputs of the command line: exactly one of the three kinds. ``kept``: the manifest, where it was read already."""

    files: tuple[Path, ...]
    digests: tuple[str, ...]
    manifest: Path | None
    any_file: bool = False
    kept: bytes | None = None

    def check(self) -> None:
        """Raise ``click.UsageError`` unless exactly one kind is given, with well-formed digests and readable."""
        if sum(map(bool, (self.files, self.digests, self.manifest))) != 1:
            raise click.UsageError("give FILE…, or --digest, or --manifest, and only one of them")
        for text in self.digests:
            if isinstance(item_of_digest(text, text).error, InputUnreadable):
                raise click.UsageError(f"--digest {text}: write it as sha256:HEX, sha384:HEX or sha512:HEX")

    def count(self) -> int | None:
        """Number of items; None for a stream, which can be read only once. Raises ``click.UsageError`` for none."""
        if self.manifest is None:
            return len(self.files) + len(self.digests)
        if self.kept is None and is_stream(self.manifest):
            return None
        with self._opened(self.manifest) as file:
            count = sum(len(batch) for batch in batches_of(file))
        if not count:
            raise _empty(self.manifest)
        return count

    def read_ahead(self) -> Inputs:
        """Equal inputs that can be read twice: a manifest from a stream is read to its end."""
        if self.manifest is None or not is_stream(self.manifest):
            return self
        return replace(self, kept=open_manifest(self.manifest).read())

    def names(self) -> Iterator[str]:
        """Names of all items that have no error of their own; reads the manifest, and no file."""
        if self.manifest is None:
            yield from (str(path) for path in self.files)
            yield from self.digests
        else:
            with self._opened(self.manifest) as file:
                for items in _item_batches(self.manifest, file):
                    yield from (item.name for item in items if item.error is None)

    async def read(self, algorithm: Algorithm, meter: HashMeter | None = None) -> AsyncIterator[Item]:
        """Items in input order; files are hashed with the algorithm's hash (Ed25519: SHA-256)."""
        if self.files:
            hash_name = FACTS[algorithm].hash_name or "sha256"
            async for item in hashed(self.files, hash_name, meter=meter, any_file=self.any_file):
                yield item
        elif self.manifest is not None:
            async for item in self._manifest_items(self.manifest):
                yield item
        else:
            for text in self.digests:
                yield item_of_digest(text, text)

    async def _manifest_items(self, manifest: Path) -> AsyncIterator[Item]:
        """Lines are read in a thread: a stream may block for as long as its writer likes."""
        file = self._opened(manifest)
        batches = _item_batches(manifest, file)
        some = False
        try:
            while (items := await asyncio.to_thread(next, batches, None)) is not None:
                for item in items:
                    some = True
                    yield item
        finally:
            if self.kept is not None or not is_stream(manifest):  # a stream may be blocked in the thread
                file.close()
        if not some:
            raise _empty(manifest)

    def _opened(self, manifest: Path) -> BinaryIO:
        return open_manifest(manifest) if self.kept is None else io.BytesIO(self.kept)


def _item_batches(manifest: Path, file: BinaryIO) -> Iterator[list[Item]]:
    name = "stdin" if str(manifest) == "-" else str(manifest)
    return (
        [item_of_line(f"{name}:{number}", _without_mark(number, line)) for number, line in batch]
        for batch in batches_of(file)
    )


def _without_mark(number: int, line: bytes | None) -> bytes | None:
    """The line without the byte order mark that some editors put before the first one. Raises ``click.UsageError`` for UTF-16."""
    if number == 1 and line is not None and line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise click.UsageError("the manifest is UTF-16, as PowerShell writes it: save it as UTF-8")
    return line.removeprefix(codecs.BOM_UTF8) if number == 1 and line is not None else line


def _empty(manifest: Path) -> click.UsageError:
    name = "stdin" if str(manifest) == "-" else manifest
    return click.UsageError(f"the manifest {name} is empty: there is nothing to sign")
