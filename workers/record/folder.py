"""Files in the folder of a record that say what it is and how far it is sealed.

Layout of ``STATE_DIR/record``: ``origin`` (64 random bytes in hex: 8 in the names of the logs, the rest the secret for salts; and the build),
``sealed``, ``follows`` (heads of the logs of a record that was given up for this one), and in ``logs`` a folder per tenant
(``workers.record.volumes``). ``sealed`` begins with its SHA-256: one flipped bit would give another record without notice.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from queueing.files.checked_file import read_checked, write_checked
from queueing.files.durable_file import replace_durably
from queueing.files.regular_file import read_regular, read_whole
from queueing.transparency.merkle import TreeEdge
from workers.record.exchange import Head
from workers.record.follower import Place, other_log
from workers.record.receipts.requests import ReceiptRequest
from workers.record.volumes import Position, RecordDamaged

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FOLDER_NAME: Final = "record"
LOGS_NAME: Final = "logs"
"""Folder of the tenants' folders: a tenant may be called ``origin``."""

FOLLOWS: Final = "follows"

_ORIGIN_FILE: Final = re.compile(r"([0-9a-f]{16})([0-9a-f]{112}) ([!-~]{1,100})\n")
_MOST_ORIGIN_BYTES: Final = 4096
FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class Origin:
    """Identity of the record of one state directory, which all its logs have in their names.

    ``name``: 16 hex digits; ``secret`` (32 bytes or more) salts intents of former versions, which have no salt of their own;
    ``build``: the build that began the record. ``follows``: by tenant, the name of the log that was given up for this one.
    """

    log_name: str
    name: str
    secret: bytes
    build: str
    follows: Mapping[str, str] = field(default_factory=dict)

    def of(self, tenant: str) -> str:
        """Origin line of a tenant's log."""
        return f"{self.log_name}/{tenant}/{self.name}"


class Sealed(msgspec.Struct, frozen=True, kw_only=True):
    """Place in the write-ahead log up to which it is sealed, and the state of sequencer and logs there.

    ``receipts``: requests of jobs before this place that wait for theirs.
    ``incomplete``: segments before the place that have something of which no entry was made. ``at_ms``: time of the last record.
    """

    format: int
    place: Place
    sequencer: bytes
    logs: dict[str, Position]
    segment_head: bytes = b""
    receipts: list[ReceiptRequest] = []
    incomplete: list[int] = []
    at_ms: int = 0


class _SealedPlace(msgspec.Struct, frozen=True, kw_only=True):
    place: Place
    segment_head: bytes = b""
    incomplete: list[int] = []


class SealedSegments(NamedTuple):
    """Segments of the write-ahead log with a number below ``below`` are sealed, apart from those in ``incomplete``."""

    below: int = 0
    incomplete: frozenset[int] = frozenset()


def log_folder(state_dir: Path, tenant: str) -> Path:
    """Folder of a tenant's log."""
    return state_dir / FOLDER_NAME / LOGS_NAME / tenant


def read_origin(folder: Path, log_name: str, build: str, follows: dict[str, Head]) -> Origin:
    """The origin of this folder; a new one where there is none. Its build stays: a replay gives the same first entries."""
    path = folder / "origin"
    try:
        text = read_regular(path, largest_bytes=_MOST_ORIGIN_BYTES).decode("ascii")
    except FileNotFoundError:
        text = f"{secrets.token_hex(64)} {build}\n"
        replace_durably(path, text.encode())
    except UnicodeDecodeError:
        text = ""
    found = _ORIGIN_FILE.fullmatch(text)
    if found is None:
        raise RecordDamaged(f"{path} is not 128 hex digits and a build")
    former = {tenant: head.origin for tenant, head in follows.items()}
    return Origin(log_name, found[1], bytes.fromhex(found[2]), found[3], former)


def name_of(folder: Path) -> str:
    """Name of the record in this folder: 16 hex digits; empty where it cannot be read."""
    try:
        name = read_regular(folder / "origin", largest_bytes=_MOST_ORIGIN_BYTES)[:16].decode("ascii")
        int(name, 16)
    except (OSError, ValueError):
        return ""
    return name


def read_sealed(folder: Path) -> Sealed | None:
    """State that a former sealer kept; None before the first. Raises ``RecordDamaged``, or ``OSError``."""
    path = folder / "sealed"
    try:
        sealed = msgspec.msgpack.decode(read_checked(path), type=Sealed)
        for position in sealed.logs.values():
            TreeEdge(position.size, position.subtrees)
    except FileNotFoundError:
        return None
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise RecordDamaged(f"{path} cannot be read") from None
    if sealed.format != FORMAT:
        raise RecordDamaged(f"{path} has format {sealed.format}; this build writes {FORMAT}")
    return sealed


def write_sealed(folder: Path, sealed: Sealed) -> None:
    """Replace what was kept, durably. Raises ``OSError``."""
    write_checked(folder / "sealed", msgspec.msgpack.encode(sealed))


def sealed_segments(state_dir: Path) -> SealedSegments:
    """Segments of the write-ahead log that are sealed; none if that is unknown. Raises ``OSError``.

    None are where the log or the record is a restored one: a segment with a number below that of ``sealed`` may be another one then.
    """
    try:
        raw = read_checked(state_dir / FOLDER_NAME / "sealed")
        sealed = msgspec.msgpack.decode(raw, type=_SealedPlace)
    except (FileNotFoundError, msgspec.MsgspecError, ValueError, RecursionError):
        return SealedSegments()
    if not sealed.segment_head or other_log(state_dir / "wal", sealed.place, sealed.segment_head):
        return SealedSegments()
    return SealedSegments(sealed.place.segment, frozenset(sealed.incomplete))


def read_follows(folder: Path) -> dict[str, Head]:
    """Newest head of the log of a former record that this one follows, by tenant. Raises ``RecordDamaged``, or ``OSError``."""
    try:
        return msgspec.msgpack.decode(read_whole(folder / FOLLOWS), type=dict[str, Head])
    except FileNotFoundError:
        return {}
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise RecordDamaged(f"{folder / FOLLOWS} cannot be read") from None
