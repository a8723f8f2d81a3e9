"""Tokens in use by the lanes of this host: two tables of a configuration that find the same token are told apart.

A lane holds a lock on ``tokens-in-use/IDENTITY`` for as long as it lives; the file names its table and its owner.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from queueing.files.durable_file import give_to_owner_of, make_folder

if TYPE_CHECKING:
    from pathlib import Path

_LARGEST_BYTES: Final = 256
"""Two names of 63 characters, and what is between them."""


class TokenTaken(Exception):
    """Another owner's lane uses the token; ``holder`` names its table and owner."""

    def __init__(self, holder: str) -> None:
        super().__init__(f"the token is that of {holder}")
        self.holder = holder


_Text = Annotated[str, msgspec.Meta(max_length=64)]
"""CK_TOKEN_INFO has 32 bytes at most."""


class TokenProperties(msgspec.Struct, frozen=True, array_like=True):
    """Properties of a token that was found (CK_TOKEN_INFO), without their padding, and its slot."""

    manufacturer: _Text
    model: _Text
    serial: _Text
    label: _Text
    slot: Annotated[int, msgspec.Meta(ge=0)]

    def identity(self, module: str) -> str:
        """Identity of the token, the same by whatever module and selection it was found.

        Without a serial number it is the slot of this module (a path).
        """
        serial = self.serial.strip()
        if serial:
            parts = [self.manufacturer, self.model, serial, self.label]
        else:
            parts = ["", os.path.realpath(module), str(self.slot)]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]

    def matches(
        self, *, slot: int | None = None, label: str | None = None, serial: str | None = None
    ) -> bool:
        """Whether it has all these properties; None matches any. Padding is not compared."""
        return (
            (slot is None or self.slot == slot)
            and (label is None or self.label == unpadded(label))
            and (serial is None or self.serial == unpadded(serial))
        )

    def __str__(self) -> str:
        return f"slot {self.slot}, label {self.label!r}, serial {self.serial!r}"


def unpadded(text: str) -> str:
    """Text of CK_TOKEN_INFO without its padding (blanks by the standard, NULs by some)."""
    return text.rstrip(" \0")


def claim_token(state_dir: Path, identity: str, *, table: str, owner: str) -> None:
    """Claim the token for this process until it ends, together with other lanes of the same owner. Nothing is synced.

    Raises ``TokenTaken`` while a lane of another owner lives. Where the folder cannot be used (a lane under its own user, a
    full disk), nothing is claimed: the worker compares what its lanes report.
    """
    with suppress(OSError):
        folder = state_dir / "tokens-in-use"
        make_folder(folder)
        # Not closed: the lock is held until the process ends.
        descriptor = os.open(folder / identity, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        claim = f"tokens.{table} of {owner}".encode()
        try:
            give_to_owner_of(folder, descriptor)
            with suppress(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.pwrite(descriptor, claim, 0)  # over the earlier claim first: a full disk takes that
                os.ftruncate(descriptor, len(claim))
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            holder = os.pread(descriptor, _LARGEST_BYTES, 0).decode("utf-8", "replace")
        except OSError:
            os.close(descriptor)  # else the exclusive lock stops every later lane of this token
            raise
        if holder.rpartition(" of ")[2] != owner:
            os.close(descriptor)
            raise TokenTaken(holder)
