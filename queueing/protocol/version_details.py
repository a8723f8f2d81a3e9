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
    from queueing.protocol.key_directory import KeyVersionEntry

_DER_SEQUENCE: Final = 0x30
"""First byte of each certificate (X.690 8.9); a msgpack array of a few items begins with 0x90 to 0x9f."""


class _Details(msgspec.Struct, frozen=True, array_like=True):
    form: Literal[1] = 1
    created_at_ms: Annotated[int, msgspec.Meta(ge=0)] | None = None
    chains: dict[str, tuple[bytes, ...]] = {}


_decoder: Final = msgspec.msgpack.Decoder(_Details)


def pack_details(version: KeyVersionEntry) -> KeyVersionEntry:
    """The version as it travels: its details among its certificates."""
    if version.created_at_ms is None and not version.chains:
        return version
    details = msgspec.msgpack.encode(_Details(1, version.created_at_ms, dict(version.chains)))
    return msgspec.structs.replace(
        version, certificates=(*version.certificates, details), created_at_ms=None, chains={}
    )


def unpack_details(version: KeyVersionEntry) -> KeyVersionEntry:
    """The version as callers get it: certificates alone in ``certificates``. Details of a later form are left out."""
    certificates = tuple(item for item in version.certificates if item[:1] == bytes((_DER_SEQUENCE,)))
    if len(certificates) == len(version.certificates):
        return version
    created_at_ms, chains = version.created_at_ms, version.chains
    try:
        details = _decoder.decode(version.certificates[-1])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    else:
        created_at_ms, chains = details.created_at_ms, details.chains
    return msgspec.structs.replace(
        version, certificates=certificates, created_at_ms=created_at_ms, chains=chains
    )
