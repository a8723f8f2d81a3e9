"""Details of a key version on the wire: its creation time, and the chains of further authorities.

They travel as the last of the version's ``certificates`` (docs/adr/0041), a msgpack array that is no DER::

    details  = [1, created_at_ms or nil, {name: [certificate: bin, …]}]

Clients of 0.1.0 refuse a directory with a field that they do not know, and hand certificates on unread. Later clients
ignore unknown fields, so that a later version can use fields of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

_DER_SEQUENCE: Final = 0x30
"""First byte of each certificate (X.690 8.9); a msgpack array of a few items begins with 0x90 to 0x9f."""


class VersionDetails(msgspec.Struct, frozen=True, array_like=True):
    """Creation time (Unix ms, if known) and further chains by name (DER, leaf first) of a key version."""

    form: Literal[1] = 1
    created_at_ms: Annotated[int, msgspec.Meta(ge=0)] | None = None
    chains: dict[str, tuple[bytes, ...]] = {}


_decoder: Final = msgspec.msgpack.Decoder(VersionDetails)


def pack_details(certificates: Sequence[bytes], details: VersionDetails) -> tuple[bytes, ...]:
    """The certificates as they travel, with the details as the last; without, where there are none."""
    if details == VersionDetails():
        return tuple(certificates)
    return (*certificates, msgspec.msgpack.encode(details))


def unpack_details(travelled: Sequence[bytes]) -> tuple[tuple[bytes, ...], VersionDetails | None]:
    """The certificates alone, and the details; ``None`` where there are none, or none of a form known here."""
    certificates = tuple(item for item in travelled if item[:1] == bytes((_DER_SEQUENCE,)))
    if len(certificates) == len(travelled):
        return certificates, None
    try:
        return certificates, _decoder.decode(travelled[-1])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return certificates, None
