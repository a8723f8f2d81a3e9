"""Signature files of ``--out-dir``, one per item and named after it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import click

from queueing.errors import InputUnreadable, OutputUnwritable
from queueing.files.beneath import replace_beneath


def signature_path(out_dir: Path, name: str) -> Path:
    """Path ``out_dir/NAME.sig``, with the folders of the name below ``out_dir``.

    Raises ``InputUnreadable`` for a name that leads out of ``out_dir``.
    """
    parts = [part.replace(":", "-") for part in PurePosixPath(name).parts if part != "/"]
    if not parts or ".." in parts or "\x00" in name:
        raise InputUnreadable("the name leads out of --out-dir")
    return out_dir.joinpath(*parts[:-1], f"{parts[-1]}.sig")


def refuse_equal_paths(out_dir: Path, names: Iterable[str]) -> None:
    """Raise ``click.UsageError`` if two items would have one file, or one the folder of the other.

    Names that lead out of ``out_dir`` are left out: each is an error of its own item.
    """
    owners: dict[Path, str] = {}
    for name in names:
        try:
            path = signature_path(out_dir, name)
        except InputUnreadable:
            continue
        if path in owners:
            raise _collision(f"{owners[path]} and {name} would both be written to {path}")
        owners[path] = name
    for path, name in owners.items():
        taken = next((parent for parent in path.parents if parent in owners), None)
        if taken is not None:
            raise _collision(f"{taken}, of {owners[taken]}, would be both a file and the folder of {name}")


def write_signature(out_dir: Path, name: str, signature: bytes) -> None:
    """Write the signature's bytes; a file of an earlier run is replaced atomically. Links below ``out_dir`` are not followed.

    Raises ``InputUnreadable`` as ``signature_path``, and ``OutputUnwritable``; then no part of it is left.
    """
    path = signature_path(out_dir, name)
    try:
        replace_beneath(out_dir, path.relative_to(out_dir).parts, signature)
    except OSError as error:
        raise OutputUnwritable(f"{path} cannot be written: {error.strerror}") from error


def _collision(problem: str) -> click.UsageError:
    return click.UsageError(f"{problem}; nothing was signed. Give the items different names.")
