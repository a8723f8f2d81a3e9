"""Codes of the errors: the closed set of reasons, and the error for a code that was read from the wire."""

from __future__ import annotations

from typing import Final

from queueing.errors import denied, invalid, unavailable
from queueing.errors.denied import IdentityRefused
from queueing.errors.invalid import (
    ArtifactInvalid,
    ArtifactSigned,
    InputUnreadable,
    OutputUnwritable,
    ProofInvalid,
    ResultInvalid,
)
from queueing.errors.root import SigningError
from queueing.errors.unavailable import (
    CreationBusy,
    IdentityUnavailable,
    IssuerUnavailable,
    ReceiptMissing,
    TimeStampUnavailable,
)

BY_REASON: Final[dict[str, type[SigningError]]] = {
    cls.reason: cls
    for branch in (denied, invalid, unavailable)
    for cls in vars(branch).values()
    if isinstance(cls, type) and issubclass(cls, SigningError) and not cls.__subclasses__()
}
"""The closed set of reasons: code -> class. Sent over the wire as the code alone."""

RESULT_REASONS: Final = frozenset(BY_REASON) - {
    cls.reason
    for cls in (
        InputUnreadable,
        OutputUnwritable,
        ProofInvalid,
        ArtifactInvalid,
        ArtifactSigned,
        TimeStampUnavailable,
        ReceiptMissing,
        IdentityRefused,
        IdentityUnavailable,
        IssuerUnavailable,
        CreationBusy,
    )
}
"""Reasons that a job's result can carry; the others occur in commands only."""


def from_reason(reason: str, message: str = "", *, retry_after_s: float | None = None) -> SigningError:
    """The error for a code read from the wire; an unknown code becomes ``ResultInvalid``."""
    cls = BY_REASON.get(reason)
    if cls is None:
        return ResultInvalid("the result carries an unknown error code")
    return cls(message, retry_after_s=retry_after_s)
