"""Items to sign: a name, and a digest or the error in its place.

A name is bytes to the operating system. Here it is text, in which bytes that are not UTF-8 are lone surrogates
("surrogateescape"); JSON has no such text, so a line then has ``name`` with U+FFFD in their place, and all bytes of the
name in ``name_bytes`` (base64).
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Final

from queueing.errors import DigestLength, InputUnreadable, SigningError

HASH_BYTES: Final = {"sha256": 32, "sha384": 48, "sha512": 64}
_HEX: Final = re.compile(r"(?:[0-9a-fA-F]{2})*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One item to sign: its digest, or the error if it has none."""

    name: str
    hash_name: str = ""
    digest: bytes | None = None
    error: SigningError | None = None

    @property
    def digest_text(self) -> str | None:
        """``sha256:HEX``."""
        return None if self.digest is None else f"{self.hash_name}:{self.digest.hex()}"

    @property
    def shown_name(self) -> str:
        """The name in JSON: equal to ``name`` if that is UTF-8."""
        return self._raw_name().decode("utf-8", "replace")

    @property
    def name_bytes(self) -> str:
        """All bytes of a name that is not UTF-8, in base64; empty otherwise."""
        raw = self._raw_name()
        return "" if raw.decode("utf-8", "replace") == self.name else base64.b64encode(raw).decode()

    def _raw_name(self) -> bytes:
        return self.name.encode("utf-8", "surrogateescape")


def name_from_json(name: str, name_bytes: str) -> str:
    """The name of a line of JSON; raises ``InputUnreadable`` if ``name_bytes`` is not base64."""
    if not name_bytes:
        return name
    try:
        return base64.b64decode(name_bytes, validate=True).decode("utf-8", "surrogateescape")
    except (binascii.Error, ValueError):
        raise InputUnreadable("the line's name_bytes is not base64") from None


def item_of_digest(name: str, text: str) -> Item:
    """Item of a digest that is written ``ALG:HEX``."""
    hash_name, _, digits = text.partition(":")
    hash_name = hash_name.lower().replace("-", "")
    if hash_name not in HASH_BYTES or not _HEX.fullmatch(digits):
        return Item(
            name=name, error=InputUnreadable("a digest is written sha256:HEX, sha384:HEX or sha512:HEX")
        )
    digest = bytes.fromhex(digits)
    size_bytes = HASH_BYTES[hash_name]
    if len(digest) != size_bytes:
        problem = (
            f"a {hash_name} digest has {2 * size_bytes} hex digits ({size_bytes} bytes), this has"
            f" {len(digits)} ({len(digest)} bytes)"
        )
        return Item(name=name, hash_name=hash_name, digest=digest, error=DigestLength(problem))
    return Item(name=name, hash_name=hash_name, digest=digest)
