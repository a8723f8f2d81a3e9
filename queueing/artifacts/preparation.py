"""Files ready to be signed: the digest for the key, and the way to finish the file with the signature."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from queueing.artifacts.authenticode import NO_DESCRIPTION, Description
from queueing.artifacts.cms import Signer
from queueing.artifacts.targets import Target


class IfSigned(StrEnum):
    """Treatment of files that have a signature of somebody else."""

    REFUSE = "refuse"
    REPLACE = "replace"
    APPEND = "append"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Order for the files of one run. ``stamped``: a file is done only with a time-stamp, and fails without."""

    signer: Signer
    if_signed: IfSigned = IfSigned.REFUSE
    stamped: bool = False
    description: Description = NO_DESCRIPTION


class Prepared(Protocol):
    """A file that waits for its signature."""

    @property
    def digest(self) -> bytes:
        """The digest that the key signs."""

    def finish(self, signature: bytes, token: bytes | None) -> None:
        """Write the signed file. ``token``: TimeStampToken over the signature, in DER. Blocks; raises ``SigningError``."""


@dataclass(frozen=True, slots=True)
class Done:
    """A file that had its signature before."""


class Preparation(Protocol):
    """Preparation of files of one format."""

    def __call__(self, source: Path, target: Target, order: Order) -> Prepared | Done:
        """Read and hash the file. Blocks; raises ``SigningError``, then nothing is to be signed for it."""
