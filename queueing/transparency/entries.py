"""Entries of a tenant's log: msgpack arrays ``[1, at_ms, kind, ...]``, of at most 65,535 bytes.

Times are Unix ms of the host's clock and may step back; the order is that of the log. ``intent`` and ``outcome`` fields name
an entry by its index in the same log. No entry holds a digest, a signature, a job id or an idempotency key: those are items.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from queueing.errors import ProofInvalid
from queueing.transparency.event_entries import EVENT_KINDS, Count, EntryBase, EventEntry, Hash, Index, Text


class OpenedEntry(EntryBase, frozen=True, array_like=True, kw_only=True):
    """First entry of a log: its origin, the origin that it follows ('' for none), and the build that writes it."""

    kind: Literal["opened"] = "opened"
    origin: Text
    follows: Text
    build: Text


class IntentEntry(EntryBase, frozen=True, array_like=True, kw_only=True):
    """A job is about to be signed, as its envelope asks. ``commitment``: to the envelope's bytes."""

    kind: Literal["intent"] = "intent"
    attempt: Count
    client: Text
    key: Text
    key_version: Count
    algorithm: Text
    digests: Count
    commitment: Hash
    approval: Hash | None = None


class OutcomeEntry(EntryBase, frozen=True, array_like=True, kw_only=True):
    """A job has its result, which is not released before this is durable.

    ``code``: why nothing was signed, else ''. ``items_root``: root over the job's items. ``dropped``: number of signatures that
    lanes made, or may have made, and that are no item: they were not released.
    """

    kind: Literal["outcome"] = "outcome"
    intent: Index
    key_version: Count
    public_key_sha256: bytes
    digests: Count
    signed: Count
    items_root: Hash
    code: Text
    dropped: Count = 0


class EndEntry(EntryBase, frozen=True, array_like=True, kw_only=True):
    """End of a claim: Redis took the result (committed, repeated), another worker had the job (fenced), it was requeued
    (returned; returned-in-doubt: a lane may have signed), or its process ended without a result (unknown).
    """

    kind: Literal["committed", "repeated", "fenced", "returned", "returned-in-doubt", "unknown"]
    intent: Index


IN_DOUBT: Final = frozenset({"returned-in-doubt", "unknown"})
"""Ends without an outcome, of jobs some of whose digests may have been signed: items with the envelope are beside them."""


class CanaryEntry(EntryBase, frozen=True, array_like=True, kw_only=True):
    """The service signed a digest of its own with a key of the tenant, to see whether its token works."""

    kind: Literal["canary"] = "canary"
    token: Text
    key: Text
    key_version: Count
    public_key_sha256: bytes
    algorithm: Text
    outcome: Text


Entry = OpenedEntry | IntentEntry | OutcomeEntry | EndEntry | CanaryEntry | EventEntry

_BY_KIND: Final[dict[str, type[Entry]]] = {
    "opened": OpenedEntry,
    "intent": IntentEntry,
    "outcome": OutcomeEntry,
    "canary": CanaryEntry,
    **EVENT_KINDS,
    **dict.fromkeys(
        ("committed", "repeated", "fenced", "returned", "returned-in-doubt", "unknown"), EndEntry
    ),
}


class EntryHead(EntryBase, frozen=True, array_like=True, kw_only=True):
    """First fields of an entry of any kind, those of later versions included."""

    kind: str


_encoder = msgspec.msgpack.Encoder()
_head_decoder = msgspec.msgpack.Decoder(EntryHead)
_decoders: Final = {kind: msgspec.msgpack.Decoder(cls) for kind, cls in _BY_KIND.items()}


def encode_entry(entry: Entry) -> bytes:
    """The one encoding of an entry."""
    return _encoder.encode(entry)


def read_head(data: bytes) -> EntryHead:
    """Time and kind of an entry. Raises ``ProofInvalid``."""
    try:
        return _head_decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise ProofInvalid("the entry is no entry of a record") from None


def check_entry(entry: Entry, data: bytes) -> None:
    """Check that a reader takes ``data``, the encoding of this entry. Raises ``ProofInvalid``."""
    try:
        _decoders[entry.kind].decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise ProofInvalid("the entry is no entry of a record") from None


def decode_entry(data: bytes) -> Entry | None:
    """Read an entry; None for a kind of a later version. Raises ``ProofInvalid``."""
    try:
        kind = _head_decoder.decode(data).kind
        decoder = _decoders.get(kind)
        return None if decoder is None else decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise ProofInvalid("the entry is no entry of a record") from None
