"""Spool of events of commands, which may run beside a worker: the write-ahead log has one writer.

``STATE_DIR/events`` has a file for each event, until a worker with this state directory has it in its log. A crash between the
two puts an event into the log twice; both records are equal.
"""

from __future__ import annotations

import errno
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from queueing.files.durable_file import give_to_owner_of_parent, make_folder, remove_durably, replace_durably
from queueing.files.folders import entries
from queueing.files.regular_file import read_regular
from workers.journal.event_records import KeyRecord, LoginRecord

if TYPE_CHECKING:
    from pathlib import Path

FOLDER_NAME: Final = "events"
_SUFFIX: Final = ".event"
_UNREADABLE: Final = ".unreadable"
_LARGEST_BYTES: Final = 64 * 1024
_NO_EVENT: Final = frozenset({errno.EFBIG, errno.EINVAL, errno.EISDIR})
"""A file that is too long, a device or a pipe, or a folder."""

SpooledRecord = KeyRecord | LoginRecord
"""Records that commands may write: no other one is taken from the folder."""

_decoder: Final = msgspec.msgpack.Decoder(SpooledRecord)


@dataclass(frozen=True, slots=True)
class SpooledEvent:
    """An event that waits. ``record`` is None of a file that is no event, or that cannot be read now (``error``)."""

    path: Path
    record: SpooledRecord | None
    error: OSError | None = None


class EventSpool:
    """Spool of one state directory. Any number of processes may put events into it; one worker takes them out."""

    def __init__(self, state_dir: Path) -> None:
        self._folder = state_dir / FOLDER_NAME

    def put(self, record: SpooledRecord) -> None:
        """Keep an event until a worker has it; durable on return. Two fsyncs. Raises ``OSError``, or ``ValueError`` if too long.

        As root the file belongs to the owner of the state directory, so that the worker can read it.
        """
        data = msgspec.msgpack.encode(record)
        if len(data) > _LARGEST_BYTES:
            raise ValueError(f"an event of {len(data)} bytes")
        make_folder(self._folder)
        give_to_owner_of_parent(self._folder)
        replace_durably(self._folder / f"{record.at_ms:015d}-{secrets.token_hex(8)}{_SUFFIX}", data)

    def waiting(self) -> list[SpooledEvent]:
        """Events that wait, oldest first. Raises ``OSError`` where the folder cannot be read."""
        # Names with a dot first are drafts of a command that is writing, or was killed.
        paths = [path for path in self._paths() if not path.name.startswith(".")]
        return [event for path in paths if (event := _read(path)) is not None]

    def __len__(self) -> int:
        """Number of files that wait. Raises ``OSError``."""
        return len(self._paths())

    def _paths(self) -> list[Path]:
        return entries(self._folder, suffix=_SUFFIX, missing_ok=True)

    def remove(self, event: SpooledEvent) -> None:
        """Remove an event that is durable in the log. Raises ``OSError``."""
        remove_durably(event.path)

    def refuse(self, event: SpooledEvent) -> None:
        """Keep a file that is no event under a name that is not looked at again. Raises ``OSError``."""
        event.path.rename(event.path.with_suffix(_UNREADABLE))


def _read(path: Path) -> SpooledEvent | None:
    """The event in a file; None where it is gone."""
    try:
        return SpooledEvent(path, _decoder.decode(read_regular(path, largest_bytes=_LARGEST_BYTES)))
    except FileNotFoundError:
        return None
    except OSError as error:
        return SpooledEvent(path, None, None if error.errno in _NO_EVENT else error)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return SpooledEvent(path, None)
