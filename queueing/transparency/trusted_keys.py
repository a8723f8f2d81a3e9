"""Keys by which receipts are verified."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from queueing.transparency.notes import VerifierKey


@dataclass(frozen=True, slots=True)
class TrustedKeys:
    """Keys by which a receipt is verified.

    ``checkpoints``: keys that sign checkpoints, each of the log that it is named after. ``service``: service keys
    (SubjectPublicKeyInfo, DER), of which the receipt's own statement must name the key. ``audience``: of the service, where
    it is known; a statement of another one is refused.
    """

    checkpoints: Sequence[VerifierKey] = ()
    service: Sequence[bytes] = ()
    audience: str = ""
