"""The option ``--checkpoint``: checkpoints that an auditor kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from queueing.errors import ConfigError, ProofInvalid
from queueing.files.regular_file import read_regular
from queueing.transparency.checkpoints import Checkpoint, read_checkpoint
from queueing.transparency.notes import MAX_NOTE_BYTES, read_note

checkpoint_option = click.option(
    "--checkpoint",
    type=click.Path(dir_okay=False, path_type=Path),
    multiple=True,
    help="A checkpoint that you kept, such as the file `checkpoint` of an earlier bundle: its log must be here, and begin with what it covers. May be given again.",
)


def kept_checkpoints(files: Sequence[Path]) -> list[Checkpoint]:
    """Heads in these files, of which only the text counts: the auditor who kept them vouches for them. Raises ``ConfigError``."""
    return [_read(file) for file in files]


def _read(file: Path) -> Checkpoint:
    try:
        return read_checkpoint(read_note(read_regular(file, largest_bytes=MAX_NOTE_BYTES)).text)
    except OSError as error:
        problem = error.strerror or "cannot be read"
    except ProofInvalid as error:
        problem = f"it is no checkpoint: {error.message}"
    raise ConfigError(str(file), "", problem, "Give the file `checkpoint` of a bundle, as you kept it.")
