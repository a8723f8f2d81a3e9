"""Signed heads: the newest checkpoint of a log with the statement that certifies its key, as hosts keep it outside of themselves.

A reader needs the service's public key and nothing else to know that the log had this head.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import msgspec

from queueing.errors import ProofInvalid
from queueing.transparency.checkpoints import verify_checkpoint
from queueing.transparency.origin_statements import verify_statement

if TYPE_CHECKING:
    from queueing.transparency.checkpoints import Checkpoint
    from queueing.transparency.notes import VerifierKey

MAX_HEAD_BYTES: Final = 8192
"""Some 1.3 kB with names of usual length; tenants, hosts and log names together have less than 2 kB."""

MOST_ENTRIES: Final = 2**62
"""Largest size that is believed: what a lane's request and the record's files can hold."""


class SignedHead(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """Checkpoint and origin statement of a log, both as signed notes."""

    version: Literal[1] = 1
    checkpoint: bytes
    statement: bytes

    def encode(self) -> bytes:
        """The one encoding."""
        return msgspec.msgpack.encode(self)

    def verify(self, service: VerifierKey, *, audience: str, origin: str) -> Checkpoint:
        """The head, if ``service`` has certified for ``audience`` and ``origin`` the key that signed it. Raises ``ProofInvalid``."""
        statement = verify_statement(self.statement, [service], origin)
        if statement.audience != audience:
            raise ProofInvalid(f"the statement is of the cluster {statement.audience[:80]!r}")
        head = verify_checkpoint(self.checkpoint, [statement.epoch_key], origin)
        if not statement.head.size <= head.size <= MOST_ENTRIES:
            raise ProofInvalid(
                f"the checkpoint has {head.size} entries, and its key begins at {statement.head.size}"
            )
        return head


def read_signed_head(data: bytes) -> SignedHead:
    """A signed head; nothing of it is verified. Raises ``ProofInvalid``."""
    if len(data) > MAX_HEAD_BYTES:
        raise ProofInvalid(f"it has more than {MAX_HEAD_BYTES} bytes")
    try:
        return msgspec.msgpack.decode(data, type=SignedHead)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise ProofInvalid("it is no checkpoint with its statement") from None
