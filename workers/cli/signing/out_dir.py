"""Files of ``--out-dir`` and ``--receipts``, one per item and named after it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from queueing.errors import InputUnreadable, OutputUnwritable
from queueing.files.beneath import parts_below, replace_beneath
from queueing.files.drafts import sweep
from queueing.files.real_paths import RealPaths


@dataclass(frozen=True, slots=True)
class ItemFolder:
    """Folder with a file ``NAME`` + ``suffix`` per item; ``option`` is the one that names it."""

    folder: Path
    suffix: str
    option: str

    def path(self, name: str) -> Path:
        """Path of the item's file, with the folders of the name below the folder.

        Raises ``InputUnreadable`` as ``parts_below``.
        """
        parts = [part.replace(":", "-") for part in parts_below(name, self.option)]
        return self.folder.joinpath(*parts[:-1], f"{parts[-1]}{self.suffix}")

    def refuse_equal_paths(self, names: Iterable[str]) -> None:
        """Raise ``click.UsageError`` if two items would have one file, or one the folder of the other.

        Names that lead out of the folder are left out: each is an error of its own item.
        """
        owners: dict[Path, str] = {}
        for name in names:
            try:
                path = self.path(name)
            except InputUnreadable:
                continue
            if path in owners:
                raise _collision(f"{owners[path]} and {name} would both be written to {path}")
            owners[path] = name
        for path, name in owners.items():
            taken = next((parent for parent in path.parents if parent in owners), None)
            if taken is not None:
                raise _collision(
                    f"{taken}, of {owners[taken]}, would be both a file and the folder of {name}"
                )

    def sweep(self, names: Iterable[str]) -> None:
        """Remove the drafts of the items' files that killed runs left more than an hour ago. Raises nothing."""
        sweep(self._paths(names))

    def _paths(self, names: Iterable[str]) -> Iterator[Path]:
        """Paths of the items' files, but of names that can have none or that a symbolic link leads elsewhere."""
        top, real = os.path.realpath(self.folder), RealPaths()
        for name in names:
            with contextlib.suppress(InputUnreadable):
                path = self.path(name)
                if real.of(path) == os.path.join(top, path.relative_to(self.folder)):  # noqa: PTH118
                    yield path

    def write(self, name: str, content: bytes) -> Path:
        """Write the item's file; one of an earlier run is replaced atomically. Links below the folder are not followed.

        Raises ``InputUnreadable`` as ``path``, and ``OutputUnwritable``; then no part of it is left.
        """
        path = self.path(name)
        try:
            replace_beneath(self.folder, path.relative_to(self.folder).parts, content)
        except OSError as error:
            raise OutputUnwritable(f"{path} cannot be written: {error.strerror}") from error
        return path


def signatures_in(out_dir: Path) -> ItemFolder:
    """Folder of ``--out-dir``: signatures as ``NAME.sig``."""
    return ItemFolder(out_dir, ".sig", "--out-dir")


def receipts_in(folder: Path) -> ItemFolder:
    """Folder of ``--receipts``: receipts as ``NAME.tlog-proof``."""
    return ItemFolder(folder, ".tlog-proof", "--receipts")


def _collision(problem: str) -> click.UsageError:
    return click.UsageError(f"{problem}; nothing was sent or written. Give the items different names.")
