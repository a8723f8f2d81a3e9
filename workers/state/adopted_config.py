"""Adopted configuration of this host: a copy of each file, so that an older one is refused, also after a restart.

The epoch of a tenant's file never decreases, and changed content needs a higher one; comments may change freely. The
epoch of the service's file, which belongs to the host, never decreases either. Lanes start from the copies, so that
they have the worker's configuration while the files are being edited or are invalid.

Where the disk takes no copy (full, no inode left), the copy before gives its name to a mark, ``acme.toml.newest-7``: the
epoch is remembered, which needs no inode, and no lane reads an older right.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from queueing.config.toml import LARGEST_BYTES, parse_toml
from queueing.errors import ConfigError
from queueing.files.durable_file import make_folder, remove_durably, replace_all_durably, sync_folder
from queueing.files.folders import entries, is_there
from queueing.files.regular_file import read_regular
from queueing.protocol.key_directory import LARGEST_EPOCH

if TYPE_CHECKING:
    from collections.abc import Mapping

_MARK: Final = ".newest-"
_LARGEST_DIGITS: Final = len(str(LARGEST_EPOCH))


class AdoptedFiles:
    """Copies in one state directory; read by lanes, written by the worker."""

    def __init__(self, state_dir: Path) -> None:
        self._folder = state_dir / "adopted"
        self._epochs: dict[Path, dict[str, int]] = {}

    def service_text(self) -> str | None:
        """Text of the service's file adopted last; None where there is none."""
        return _read(self._folder / "service.toml")

    def tenant_text(self, tenant: str) -> str | None:
        """Text of the tenant's file adopted last, also of a removed tenant; None where there is none."""
        return _read(self._folder / "tenants" / f"{tenant}.toml")

    def newest_service_epoch(self) -> int:
        """Epoch of an adopted service file whose copy could not be written; 0 where there is none."""
        return self._epochs_of_marks(self._folder).get("service.toml", 0)

    def newest_tenant_epoch(self, tenant: str) -> int:
        """Epoch of an adopted file of the tenant whose copy could not be written; 0 where there is none."""
        return self._epochs_of_marks(self._folder / "tenants").get(f"{tenant}.toml", 0)

    def keep(self, service: str, tenants: Mapping[str, str]) -> dict[Path, OSError]:
        """Store the adopted texts; returns the error of each copy that could not be written, to be tried again.

        Of such a file the epoch is remembered if at all possible. Its older copy is gone: lanes must not read a revoked
        right from it.
        """
        texts = {self._folder / "service.toml": service}
        texts |= {self._folder / "tenants" / f"{name}.toml": text for name, text in tenants.items()}
        failed = self._write({file: text for file, text in texts.items() if _read_or_none(file) != text})
        for file in failed:
            _mark(file, _epoch_of(texts[file], is_service=file.parent == self._folder))
        for folder in (self._folder, self._folder / "tenants"):
            for mark, (name, _) in _marks(folder).items():
                if folder / name in texts and folder / name not in failed:
                    with contextlib.suppress(OSError):  # it only refuses what the copy refuses
                        remove_durably(mark)
        self._epochs.clear()
        return failed

    def _write(self, texts: Mapping[Path, str]) -> dict[Path, OSError]:
        """Write the copies; returns the errors by file."""
        try:
            make_folder(self._folder)
            make_folder(self._folder / "tenants")
        except OSError as error:
            return dict.fromkeys(texts, error)
        return replace_all_durably({file: text.encode() for file, text in texts.items()})

    def _epochs_of_marks(self, folder: Path) -> dict[str, int]:
        if folder not in self._epochs:
            self._epochs[folder] = {}
            for name, epoch in _marks(folder).values():
                self._epochs[folder][name] = max(epoch, self._epochs[folder].get(name, 0))
        return self._epochs[folder]


def refuse_older_service(file: Path, text: str, adopted: str | None, *, newest: int = 0) -> None:
    """Raise ``ConfigError`` when this text of the service's file is older than the adopted one.

    ``newest``: epoch of an adopted text that could not be copied.
    """
    if newest:
        _refuse_older(file, "service.epoch", _epoch_of(text, is_service=True), newest)
    if adopted is None or adopted == text:
        return
    epochs = [_epoch_of(either, is_service=True) for either in (text, adopted)]
    _refuse_older(file, "service.epoch", *epochs)


def refuse_older_tenant(file: Path, text: str, adopted: str | None, *, newest: int = 0) -> None:
    """Raise ``ConfigError`` when this text of a tenant's file is older than the adopted one, or differs at its epoch.

    ``newest``: epoch of an adopted text that could not be copied.
    """
    if newest:
        _refuse_older(file, "epoch", _epoch_of(text), newest)
    if adopted is None or adopted == text:
        return
    new, old = _tables(text), _tables(adopted)
    epoch = _epoch(old)
    _refuse_older(file, "epoch", _epoch(new), epoch)
    if _epoch(new) == epoch and {**new, "epoch": epoch} != {**old, "epoch": epoch}:
        raise ConfigError(
            str(file),
            "epoch",
            f"is still {epoch}, but the content differs from the adopted one",
            f"Write epoch = {epoch + 1}: each change needs a new epoch.",
        )


def _refuse_older(file: Path, key: str, epoch: int, adopted: int) -> None:
    if epoch < adopted:
        raise ConfigError(
            str(file),
            key,
            f"is {epoch}, but {adopted} was adopted before",
            f"Restore the newer file, or set epoch = {adopted + 1}.",
        )


def _epoch_of(text: str, *, is_service: bool = False) -> int:
    tables: object = _tables(text)
    if is_service and isinstance(tables, dict):
        tables = tables.get("service")
    return _epoch(tables) if isinstance(tables, dict) else 0


def _epoch(tables: dict[str, Any]) -> int:
    """The epoch; 0 where it is none, as one above ``LARGEST_EPOCH`` that an earlier version adopted."""
    epoch = tables.get("epoch", 0)
    return epoch if isinstance(epoch, int) and 0 <= epoch <= LARGEST_EPOCH else 0


def _tables(text: str) -> dict[str, Any]:
    """Tables of a text; empty for a damaged copy. New files have been parsed before."""
    try:
        return parse_toml(Path("adopted"), text)
    except ConfigError:
        return {}


def _read(file: Path) -> str | None:
    """Text of a copy; None where it is missing, damaged, or a lane under its own user may not read it.

    Raises ``ConfigError`` where the disk fails, or it is none that was written here (a pipe, a huge file): an older file would be
    taken.
    """
    try:
        return read_regular(file, largest_bytes=LARGEST_BYTES).decode()
    except (FileNotFoundError, NotADirectoryError, PermissionError, UnicodeDecodeError):
        return None
    except OSError as error:
        raise ConfigError(
            str(file),
            "",
            f"the copy of the adopted file cannot be read ({error.strerror})",
            "Repair the disk of service.state_dir, or remove the copy: then a file of any epoch is adopted.",
        ) from error


def _read_or_none(file: Path) -> str | None:
    try:
        return _read(file)
    except ConfigError:
        return None


def _marks(folder: Path) -> dict[Path, tuple[str, int]]:
    """Marks in a folder, with the name of their file and its epoch. None where a lane may not list them."""
    try:
        files = entries(folder, missing_ok=True)
    except OSError:
        return {}
    found: dict[Path, tuple[str, int]] = {}
    for file in files:
        name, separator, epoch = file.name.rpartition(_MARK)
        if separator and epoch.isascii() and epoch.isdecimal() and len(epoch) <= _LARGEST_DIGITS:
            found[file] = name, int(epoch)
    return found


def _mark(file: Path, epoch: int) -> None:
    """Leave a mark of this epoch instead of the copy, by names only: a rename and a hard link need no inode."""
    mark = file.with_name(f"{file.name}{_MARK}{epoch}")
    older = [other for other, (name, _) in _marks(file.parent).items() if name == file.name and other != mark]
    with contextlib.suppress(OSError):  # the log has the reason
        for source in (file, *older):
            if is_there(source):
                source.replace(mark)
        if not is_there(mark):
            others = [
                other for other in (*entries(file.parent), *entries(file.parent.parent)) if other.is_file()
            ]
            if others:
                os.link(others[0], mark)
        sync_folder(file.parent)
    with contextlib.suppress(OSError):
        remove_durably(file)
