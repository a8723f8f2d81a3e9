"""Times until which the envelopes of tenants are verified, since some were forged; kept for the next start of the worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from queueing.files.checked_file import read_checked, write_checked
from queueing.files.durable_file import make_folder

if TYPE_CHECKING:
    from pathlib import Path

FILE_NAME: Final = "forged-envelopes"

_Time = Annotated[float, msgspec.Meta(ge=0, le=2**40)]


class ForgedFor(msgspec.Struct, frozen=True, kw_only=True):
    """Time for which the envelopes of a tenant are verified: its length, and its end (Unix seconds)."""

    window_s: _Time
    until_s: _Time


def read_forged(state_dir: Path) -> dict[str, ForgedFor]:
    """The times that were kept last, by tenant; empty where no file of it can be read."""
    try:
        return msgspec.msgpack.decode(read_checked(state_dir / FILE_NAME), type=dict[str, ForgedFor])
    except (OSError, ValueError, RecursionError):  # msgspec's errors are ValueErrors
        return {}


def keep_forged(state_dir: Path, forged: dict[str, ForgedFor]) -> None:
    """Replace it, durably. Raises ``OSError``."""
    make_folder(state_dir)
    write_checked(state_dir / FILE_NAME, msgspec.msgpack.encode(forged))
