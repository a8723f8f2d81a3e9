"""Bytes that each tenant has added to the write-ahead log on one day of UTC, kept for the next start of the worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from queueing.files.checked_file import read_checked, write_checked
from queueing.files.durable_file import make_folder

if TYPE_CHECKING:
    from pathlib import Path

FILE_NAME: Final = "log-usage"

_Bytes = Annotated[int, msgspec.Meta(ge=0, le=2**62)]


class LogUsage(msgspec.Struct, frozen=True, kw_only=True):
    """``day``: days since 1970 (UTC); ``written``: bytes of that day by tenant."""

    day: int
    written: dict[str, _Bytes] = {}


def read_usage(state_dir: Path) -> LogUsage | None:
    """The usage that was kept last; None where no file of it can be read."""
    try:
        return msgspec.msgpack.decode(read_checked(state_dir / FILE_NAME), type=LogUsage)
    except (OSError, ValueError, RecursionError):  # msgspec's errors are ValueErrors
        return None


def keep_usage(state_dir: Path, usage: LogUsage) -> None:
    """Replace it, durably. Raises ``OSError``."""
    make_folder(state_dir)
    write_checked(state_dir / FILE_NAME, msgspec.msgpack.encode(usage))
