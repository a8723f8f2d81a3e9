"""Short form of an origin statement, for receipts: what does not follow from the checkpoint beside it.

The text of a statement names its log three times and has its hashes in base64: of about 500 bytes half are left here.
The signed note is built from it again byte by byte, and only that is verified.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec

from queueing.errors import ProofInvalid
from queueing.transparency.checkpoints import Checkpoint
from queueing.transparency.notes import ED25519, VerifierKey, read_note, signature_text
from queueing.transparency.origin_statements import OriginStatement, one_word, read_statement

_Hash = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
_Size = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
_Text = Annotated[str, msgspec.Meta(max_length=512)]
_Seconds = Annotated[int, msgspec.Meta(ge=0, le=253_402_300_799)]
"""Unix time until the year 9999, the last one that RFC 3339 can write."""


class _Short(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    version: Literal[1] = 1
    audience: _Text
    epoch_key: _Hash
    size: _Size
    root: _Hash
    follows: tuple[_Text, _Size, _Hash] | None
    host: _Text
    build: _Text
    issued: _Seconds
    expires: _Seconds
    key_id: Annotated[bytes, msgspec.Meta(min_length=4, max_length=4)]
    signature: Annotated[bytes, msgspec.Meta(min_length=1, max_length=512)]


def shortened(note: bytes) -> bytes:
    """Short form of a signed statement. Raises ``ProofInvalid`` for a note that it could not be built from again."""
    read = read_note(note)
    statement = read_statement(read.text)
    first = read.signatures[0]
    follows = statement.follows
    short = msgspec.msgpack.encode(
        _Short(
            audience=statement.audience,
            epoch_key=statement.epoch_key.public_key,
            size=statement.head.size,
            root=statement.head.root,
            follows=None if follows is None else (follows.origin, follows.size, follows.root),
            host=statement.host,
            build=statement.build,
            issued=int(statement.issued.timestamp()),
            expires=int(statement.expires.timestamp()),
            key_id=first.key_id,
            signature=first.signature,
        )
    )
    if lengthened(short, statement.head.origin) != note:
        raise ProofInvalid("the statement has no short form")
    return short


def lengthened(short: bytes, origin: str) -> bytes:
    """The signed note about the log ``origin`` in a short form, not verified. Raises ``ProofInvalid``."""
    try:
        parts = msgspec.msgpack.decode(short, type=_Short)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise ProofInvalid("the statement about the key of the checkpoint cannot be read") from None
    words = parts.host, parts.build
    if msgspec.msgpack.encode(parts) != short or tuple(map(one_word, words)) != words:
        raise ProofInvalid("the statement about the key of the checkpoint is not in its one encoding")
    statement = OriginStatement(
        audience=parts.audience,
        epoch_key=VerifierKey(origin, ED25519, parts.epoch_key),
        head=Checkpoint(origin, parts.size, parts.root),
        follows=None if parts.follows is None else Checkpoint(*parts.follows),
        host=parts.host,
        build=parts.build,
        issued=datetime.fromtimestamp(parts.issued, UTC),
        expires=datetime.fromtimestamp(parts.expires, UTC),
    )
    log_name = "/".join(origin.split("/")[:-2])
    return (
        f"{statement.text}\n{signature_text(f'{log_name}/service', parts.key_id, parts.signature)}".encode()
    )
