"""Order of a worker to its sealer: the record of this state directory is an older copy, and a new one is to begin.

``STATE_DIR/sealer/set-back``. Only the worker writes it, and the sealer removes it when it has given the record up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from queueing.files.durable_file import make_folder, replace_durably
from queueing.files.regular_file import NOT_A_FILE, read_regular
from queueing.protocol.names import Name
from workers.record.exchange import SEALER_FOLDER, Head
from workers.record.volumes import RecordDamaged

if TYPE_CHECKING:
    from pathlib import Path

_FILE_NAME: Final = "set-back"
_LARGEST_BYTES: Final = 16 * 1024 * 1024
"""Heads of thousands of tenants, of some 200 bytes each."""


class SetBack(msgspec.Struct, frozen=True, kw_only=True):
    """Record ``name`` (16 hex digits) was further once: at ``heads``, by tenant, which its logs do not continue. ``why``: one of them in a sentence."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{16}\Z")]
    why: str
    heads: dict[Name, Head]


def tell_set_back(state_dir: Path, order: SetBack) -> bool:
    """Order it, with the heads of an earlier order about the same record; False where that says the same. Raises ``OSError``."""
    before = read_set_back(state_dir)
    if before is not None and before.name == order.name:
        order = msgspec.structs.replace(order, heads={**before.heads, **order.heads})
        if order.heads == before.heads:
            return False
    folder = state_dir / SEALER_FOLDER
    make_folder(folder)
    replace_durably(folder / _FILE_NAME, msgspec.msgpack.encode(order))
    return True


def read_set_back(state_dir: Path) -> SetBack | None:
    """The order; None where there is none that can be read. Raises ``OSError``."""
    try:
        raw = read_regular(state_dir / SEALER_FOLDER / _FILE_NAME, largest_bytes=_LARGEST_BYTES)
        return msgspec.msgpack.decode(raw, type=SetBack)
    except (FileNotFoundError, msgspec.MsgspecError, ValueError, RecursionError):
        return None
    except OSError as error:
        if error.errno not in NOT_A_FILE:
            raise
        return None


def check_not_set_back(state_dir: Path, name: str) -> None:
    """Raise ``RecordDamaged`` where it was ordered to give up the record of this name, or ``OSError``."""
    order = read_set_back(state_dir)
    if order is not None and order.name == name:
        raise RecordDamaged(order.why)


def forget_set_back(state_dir: Path) -> None:
    """Remove the order. Raises ``OSError``."""
    (state_dir / SEALER_FOLDER / _FILE_NAME).unlink(missing_ok=True)
