"""Certified heads: the newest checkpoint of a tenant's log with the statement about its key, read from the log's files."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from queueing.errors import ProofInvalid
from queueing.files.folders import last_names
from queueing.files.regular_file import read_regular
from queueing.transparency.checkpoints import read_checkpoint
from queueing.transparency.notes import MAX_NOTE_BYTES, read_note
from queueing.transparency.origin_statements import read_statement
from queueing.transparency.signed_heads import SignedHead
from workers.record.exchange import STATEMENTS

if TYPE_CHECKING:
    from pathlib import Path

    from queueing.transparency.checkpoints import Checkpoint
    from queueing.transparency.notes import Note, VerifierKey

MOST_STATEMENTS: Final = 64
"""Statements of the largest heads that are read: the one of the running sealer's key is among them, as each start adds entries."""


@dataclass(frozen=True, slots=True)
class CertifiedHead:
    """Newest head of a log: the log's name, and the head's signed form for others."""

    origin: str
    signed: bytes


class CertifiedHeads:
    """Reads heads of the logs in this folder. A checkpoint that has not changed is not decoded again; a key has one statement for a week. Blocks."""

    def __init__(self, logs_folder: Path) -> None:
        self._logs_folder = logs_folder
        self._statements: dict[str, tuple[VerifierKey, bytes]] = {}
        self._last: dict[str, tuple[bytes, CertifiedHead]] = {}

    def read(self, tenant: str) -> CertifiedHead | None:
        """Newest head of the tenant's log; None where there is none, or none whose key is certified.

        Nothing is verified: a reader does that. Raises ``ProofInvalid`` for a checkpoint that cannot be read, or ``OSError``.
        """
        folder = self._logs_folder / tenant
        try:
            data = read_regular(folder / "checkpoint", largest_bytes=MAX_NOTE_BYTES)
        except FileNotFoundError:
            return None
        if not data.strip(b"\0"):
            return None  # a power cut took it
        last = self._last.get(tenant)
        if last is not None and last[0] == data:
            return last[1]
        note = read_note(data)
        head = read_checkpoint(note.text)
        statement = self._statement(tenant, note, head)
        if not statement:
            return None
        signed = SignedHead(checkpoint=data, statement=statement).encode()
        made = CertifiedHead(head.origin, signed)
        self._last[tenant] = data, made
        return made

    def _statement(self, tenant: str, note: Note, head: Checkpoint) -> bytes:
        """Statement about the key of this checkpoint; empty before there is one."""
        known = self._statements.get(tenant)
        if known is not None and _names(note, known[0]):
            return known[1]
        folder = self._logs_folder / tenant / STATEMENTS
        for name in last_names(folder, MOST_STATEMENTS):
            data = read_regular(folder / name, largest_bytes=MAX_NOTE_BYTES)
            with suppress(ProofInvalid):  # a damaged one costs itself
                statement = read_statement(read_note(data).text)
                if _names(note, statement.epoch_key) and statement.head.size <= head.size:
                    self._statements[tenant] = statement.epoch_key, data
                    return data
        return b""


def _names(note: Note, key: VerifierKey) -> bool:
    """Whether a signature line names this key."""
    return any((line.name, line.key_id) == (key.name, key.key_id) for line in note.signatures)
