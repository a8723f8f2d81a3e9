"""Replacement of a damaged record: it is renamed and kept, and a new one begins that follows it.

``STATE_DIR/record.NAME`` has a record that was given up, ``record.new`` a new one in the making.
"""

from __future__ import annotations

import logging
import secrets
from typing import TYPE_CHECKING, Final

import msgspec

from queueing.files.durable_file import make_folder, replace_durably, sync_folder
from queueing.files.folders import entries, entries_below, is_there
from workers.record.folder import FOLDER_NAME, FOLLOWS, name_of
from workers.record.heads.set_back import forget_set_back, read_set_back
from workers.record.published import published_heads

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger("sigmill.record")

_FORMER: Final = f"{FOLDER_NAME}."
_DRAFT: Final = f"{FOLDER_NAME}.new"


def former_records(state_dir: Path) -> list[Path]:
    """Folders of records that were given up, whose files are kept. Raises ``OSError``."""
    return [path for path in entries(state_dir) if path.name.startswith(_FORMER) and path.name != _DRAFT]


def give_up(state_dir: Path) -> str:
    """Rename the record, and begin a new one that follows it; returns the new name of its folder. Raises ``OSError``.

    It follows the heads that were published here, and where the worker knows of others (``heads.set_back``), these: they are
    certified. A crash at any point is finished by ``finish_replacement``.
    """
    record, draft = state_dir / FOLDER_NAME, state_dir / _DRAFT
    heads = published_heads(record)
    order = read_set_back(state_dir)
    if order is not None and order.name == name_of(record):
        heads |= order.heads
    make_folder(draft)
    replace_durably(draft / FOLLOWS, msgspec.msgpack.encode(heads))
    former = state_dir / f"{_FORMER}{_former_name(record)}"
    record.rename(former)
    draft.rename(record)
    sync_folder(state_dir)
    forget_set_back(state_dir)
    return former.name


def finish_replacement(state_dir: Path) -> None:
    """Finish the replacement of a record that a crash has interrupted. Raises ``OSError``."""
    record, draft = state_dir / FOLDER_NAME, state_dir / _DRAFT
    if is_there(draft) and not is_there(record):
        draft.rename(record)
        sync_folder(state_dir)


def _former_name(record: Path) -> str:
    """New name for a record that is given up: that of its origin, made unique."""
    return f"{name_of(record) or 'unknown'}-{secrets.token_hex(4)}"


def measured(state_dir: Path, before: int) -> int:
    """Bytes of all files of the record and of former ones; ``before`` where one of their folders cannot be read, which is told.

    A folder that is none of ours, such as ``lost+found`` of a disk of its own, may not be read, and stops nothing.
    """
    try:
        return _bytes_of(state_dir)
    except OSError as error:
        log.warning("record.not_measured", extra={"why": str(error)})
        return before


def _bytes_of(state_dir: Path) -> int:
    folders = [state_dir / FOLDER_NAME, *former_records(state_dir)]
    total = 0
    for folder in folders:
        for file in entries_below(folder):
            try:
                total += file.lstat().st_size
            except FileNotFoundError:
                continue  # a draft
    return total
