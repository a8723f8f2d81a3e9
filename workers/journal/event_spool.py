"""Spool of events that cannot be written to the log now: of commands, beside whose writer they run, and of a worker whose log fails.

``STATE_DIR/events`` has files of one or more events each, until a worker with this state directory has them in its log. A crash
between the two puts events into the log twice; both records are equal.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from queueing.files.durable_file import (
    give_to_owner_of_parent,
    make_folder,
    remove_durably,
    replace_durably,
    sync_folder,
)
from queueing.files.folders import entries
from queueing.files.regular_file import NOT_A_FILE, read_regular
from workers.journal.event_records import ConfigurationRecord, KeyRecord, LoginRecord, StopOrderRecord

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

FOLDER_NAME: Final = "events"
_SUFFIX: Final = ".event"
_UNREADABLE: Final = ".unreadable"
_LARGEST_RECORD_BYTES: Final = 60 * 1024
_LARGEST_BYTES: Final = 64 * 1024
SpooledRecord = KeyRecord | LoginRecord | ConfigurationRecord | StopOrderRecord
"""Records that may be put here: no other one is taken from the folder."""

_decoder: Final = msgspec.msgpack.Decoder(tuple[SpooledRecord, ...])


@dataclass(frozen=True, slots=True)
class SpooledEvents:
    """Events in a file that waits. None are in one that is no list of events, or that cannot be read now (``error``)."""

    path: Path
    records: tuple[SpooledRecord, ...] = ()
    error: OSError | None = None


class EventSpool:
    """Spool of one state directory. Any number of processes may put events into it; one worker takes them out."""

    def __init__(self, state_dir: Path) -> None:
        self._folder = state_dir / FOLDER_NAME

    def put(self, *records: SpooledRecord) -> None:
        """Keep events until a worker has them; durable on return. Two fsyncs for some hundred of them.

        As root the files belong to the owner of the state directory, so that the worker can read them. Raises ``OSError``, or
        ``ValueError`` where one is too long.
        """
        for batch in _batches(records):
            data = msgspec.msgpack.encode(batch)
            make_folder(self._folder)
            give_to_owner_of_parent(self._folder)
            name = f"{batch[0].at_ms:015d}-{secrets.token_hex(8)}{_SUFFIX}"
            replace_durably(self._folder / name, data)

    def waiting(self) -> list[SpooledEvents]:
        """Files that wait, oldest first. Raises ``OSError`` where the folder cannot be read."""
        # Names with a dot first are drafts of a command that is writing, or was killed.
        paths = [path for path in self._paths() if not path.name.startswith(".")]
        return [events for path in paths if (events := _read(path)) is not None]

    def unreadable(self) -> list[Path]:
        """Files that were refused (``refuse``). Raises ``OSError`` where the folder cannot be read."""
        return entries(self._folder, suffix=_UNREADABLE, missing_ok=True)

    def __len__(self) -> int:
        """Number of files that wait. Raises ``OSError``."""
        return len(self._paths())

    def _paths(self) -> list[Path]:
        return entries(self._folder, suffix=_SUFFIX, missing_ok=True)

    def remove(self, events: SpooledEvents) -> None:
        """Remove events that are durable in the log. Raises ``OSError``."""
        remove_durably(events.path)

    def refuse(self, events: SpooledEvents) -> None:
        """Keep a file without events under a name that is not read again; the name is on disk on return. Raises ``OSError``."""
        events.path.replace(events.path.with_suffix(_UNREADABLE))
        sync_folder(events.path.parent)


def _batches(records: Sequence[SpooledRecord]) -> Iterator[list[SpooledRecord]]:
    """Records for one file each."""
    batch, size = list[SpooledRecord](), 0
    for record in records:
        length = len(msgspec.msgpack.encode(record))
        if length > _LARGEST_RECORD_BYTES:
            raise ValueError(f"an event of {length} bytes")
        if batch and size + length > _LARGEST_RECORD_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(record)
        size += length
    if batch:
        yield batch


def _read(path: Path) -> SpooledEvents | None:
    """The events in a file; None where it is gone."""
    try:
        return SpooledEvents(path, _decoder.decode(read_regular(path, largest_bytes=_LARGEST_BYTES)))
    except FileNotFoundError:
        return None
    except OSError as error:
        return SpooledEvents(path, error=None if error.errno in NOT_A_FILE else error)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return SpooledEvents(path)
