"""Proof files (C2SP tlog-proof): an entry's inclusion proof and the checkpoint in one text of a few kB.

Lines: ``c2sp.org/tlog-proof@v1``, ``extra BASE64`` (optional), ``index N``, one base64 hash a line, an empty line, and the
checkpoint as it was signed. ``extra`` is not authenticated: its reader checks it against the entry.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import Final

from queueing.errors import ProofInvalid
from queueing.transparency.merkle import HASH_BYTES, MAX_SIZE
from queueing.transparency.notes import decode_base64

HEADER: Final = "c2sp.org/tlog-proof@v1"
MAX_PROOF_BYTES: Final = 256 * 1024
MAX_HASHES: Final = 63
"""Hashes of an inclusion proof in the largest tree."""

_INDEX: Final = re.compile(r"index (0|[1-9][0-9]{0,18})")


@dataclass(frozen=True, slots=True)
class ProofFile:
    """Index of an entry, its inclusion proof, the signed checkpoint as it is, and ``extra`` (empty where there is none)."""

    index: int
    proof: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes = b""

    def encode(self) -> bytes:
        """The file's bytes."""
        lines = [HEADER]
        if self.extra:
            lines.append(f"extra {base64.b64encode(self.extra).decode()}")
        lines.append(f"index {self.index}")
        lines += [base64.b64encode(each).decode() for each in self.proof]
        return "\n".join([*lines, "", ""]).encode() + self.checkpoint


def read_proof_file(data: bytes) -> ProofFile:
    """Read a proof file; nothing of it is verified. Raises ``ProofInvalid``."""
    if len(data) > MAX_PROOF_BYTES:
        raise ProofInvalid(f"the proof has {len(data)} bytes, at most {MAX_PROOF_BYTES} are read")
    head, empty_line, checkpoint = data.partition(b"\n\n")
    if not empty_line:
        raise ProofInvalid("the proof has no checkpoint after an empty line")
    try:
        lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise ProofInvalid("the proof is not text") from None
    if lines.pop(0) != HEADER:
        raise ProofInvalid(f"the proof does not begin with {HEADER}")
    extra = b""
    if lines and lines[0].startswith("extra "):
        extra = decode_base64(lines.pop(0).removeprefix("extra "), "the proof's extra data")
    index = _INDEX.fullmatch(lines.pop(0)) if lines else None
    if index is None or int(index[1]) > MAX_SIZE:
        raise ProofInvalid("the proof has no line 'index N'")
    if len(lines) > MAX_HASHES:
        raise ProofInvalid(f"the proof has {len(lines)} hashes, at most {MAX_HASHES} are read")
    hashes = tuple([decode_base64(line, "a hash of the proof") for line in lines])
    if any(len(each) != HASH_BYTES for each in hashes):
        raise ProofInvalid(f"a hash of the proof has not {HASH_BYTES} bytes")
    return ProofFile(int(index[1]), hashes, checkpoint, extra)
