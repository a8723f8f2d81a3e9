"""Pipe, folder and huge file in the place of a file that is to be read."""

from __future__ import annotations

import os
from pathlib import Path


def put_pipe(file: Path) -> None:
    """A pipe without a writer."""
    os.mkfifo(file)


def put_folder(file: Path) -> None:
    """An empty folder."""
    file.mkdir()


def put_huge(file: Path) -> None:
    """A file of a TiB, which takes no space."""
    with file.open("wb") as stream:
        stream.truncate(2**40)


PUT = {"pipe": put_pipe, "folder": put_folder, "huge": put_huge}
