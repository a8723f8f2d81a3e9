"""Minimum index of a log (C2SP tlog-tiles, "Pruning"): entries below it were removed by retention; all others are there.

It is a multiple of a volume. It is written before the first file below it is removed, so that after a crash at any point
a reader is told the truth, and never finds a hole above it. The hashes of whole bundles of 256 entries stay for ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from queueing.errors import ProofInvalid
from queueing.files.checked_file import read_checked, write_checked

if TYPE_CHECKING:
    from pathlib import Path

FILE_NAME: Final = "minimum"
"""In the folder of a tenant's log."""


class EntriesRemoved(ProofInvalid):
    """Entries that retention has removed were asked for."""

    hint = "Older exports and receipts stay valid: look for them there. `[record] retain_days` says how long entries are kept."


def read_minimum(log_folder: Path) -> int:
    """First entry that is there; 0 where nothing was removed. Raises ``ProofInvalid``, or ``OSError``."""
    try:
        return int(read_checked(log_folder / FILE_NAME))
    except FileNotFoundError:
        return 0
    except ValueError:
        raise ProofInvalid(f"{log_folder / FILE_NAME} is damaged") from None


def write_minimum(log_folder: Path, minimum: int) -> None:
    """Say, durably, that entries below ``minimum`` are no longer there. Raises ``OSError``."""
    write_checked(log_folder / FILE_NAME, str(minimum).encode())


def removed_sentence(minimum: int) -> str:
    """One sentence for people about the entries below the minimum."""
    return f"entries before number {minimum:,} were removed by retention; their hashes are still in the tree"
