"""Checkpoints: heads of a log's tree as text of a signed note (C2SP tlog-checkpoint).

The text has three lines: origin, number of entries (decimal), root (base64). Extension lines are refused: ours have none,
and what they say is in no proof.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from queueing.errors import ProofInvalid
from queueing.transparency.merkle import HASH_BYTES, MAX_SIZE
from queueing.transparency.notes import decode_base64, sign_note, verified_text

if TYPE_CHECKING:
    from queueing.transparency.notes import NoteSigner, VerifierKey

_DECIMAL: Final = re.compile(r"0|[1-9][0-9]{0,18}")
_LINES: Final = 3


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Head of a tree: origin (name of the log), number of entries, root (32 bytes)."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """The note's text."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


def sign_checkpoint(checkpoint: Checkpoint, *signers: NoteSigner) -> bytes:
    """The checkpoint as a signed note."""
    return sign_note(checkpoint.text, *signers)


def read_checkpoint(text: str) -> Checkpoint:
    """A checkpoint from the verified text of a note. Raises ``ProofInvalid``."""
    lines = text.split("\n")
    if len(lines) != _LINES + 1 or lines[-1] or not lines[0]:
        raise ProofInvalid(
            f"a checkpoint has the lines origin, size and root; this one has {len(lines) - 1} lines"
        )
    origin, size, root = lines[:_LINES]
    if not _DECIMAL.fullmatch(size) or int(size) > MAX_SIZE:
        raise ProofInvalid(f"the checkpoint of {origin[:80]} has the size {size[:40]!r}")
    raw = decode_base64(root, "the checkpoint's root")
    if len(raw) != HASH_BYTES:
        raise ProofInvalid(f"the checkpoint's root has {len(raw)} bytes, not {HASH_BYTES}")
    return Checkpoint(origin, int(size), raw)


def verify_checkpoint(data: bytes, trusted: list[VerifierKey], origin: str) -> Checkpoint:
    """A checkpoint of ``origin`` that at least one trusted key signed. Raises ``ProofInvalid``."""
    checkpoint = read_checkpoint(verified_text(data, trusted))
    if checkpoint.origin != origin:
        raise ProofInvalid(f"the checkpoint is of {checkpoint.origin[:80]!r}, and not of {origin[:80]!r}")
    return checkpoint
