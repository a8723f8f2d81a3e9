"""Recorder of the system calls that make a file durable, in their order: fsync, sync, rename, unlink, mkdir, create."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest


@dataclass(frozen=True, slots=True)
class DiskCall:
    """One call on ``path``; ``to`` is the new name of a rename."""

    name: str
    path: Path
    to: Path | None = None


@dataclass(slots=True)
class DiskCalls:
    """Calls that were made since ``record``; the calls themselves are made, too."""

    made: list[DiskCall] = field(default_factory=list)

    def record(self, patch: pytest.MonkeyPatch) -> None:
        """Record from now on, until ``patch`` is undone."""
        fsync, sync, replace, unlink, mkdir, open_ = (
            os.fsync,
            os.sync,
            os.replace,
            os.unlink,
            os.mkdir,
            os.open,
        )

        def note(name: str, path: Any, to: Any = None) -> None:
            self.made.append(DiskCall(name, Path(path), None if to is None else Path(to)))

        def noted_fsync(descriptor: int) -> None:
            fsync(descriptor)
            note("fsync", Path(f"/proc/self/fd/{descriptor}").readlink())

        def noted_sync() -> None:
            sync()
            note("sync", "/")

        def noted_replace(source: Any, to: Any, **rest: Any) -> None:
            replace(source, to, **rest)
            note("rename", source, to)

        def noted_unlink(path: Any, **rest: Any) -> None:
            unlink(path, **rest)
            note("unlink", path)

        def noted_mkdir(path: Any, *rest: Any, **more: Any) -> None:
            mkdir(path, *rest, **more)
            note("mkdir", path)

        def noted_open(path: Any, flags: int, *rest: Any, **more: Any) -> int:
            descriptor = open_(path, flags, *rest, **more)
            if flags & os.O_CREAT:
                note("create", path)
            return descriptor

        for name, call in (
            ("fsync", noted_fsync),
            ("sync", noted_sync),
            ("replace", noted_replace),
            ("unlink", noted_unlink),
            ("mkdir", noted_mkdir),
            ("open", noted_open),
        ):
            patch.setattr(os, name, call)

    def assert_replaced(self, file: Path) -> None:
        """The file was replaced durably: its data synced, then renamed, then its folder synced."""
        at, draft = max(
            ((i, call.path) for i, call in enumerate(self.made) if (call.name, call.to) == ("rename", file)),
            default=(-1, file),
        )
        assert at >= 0, f"{file} was not renamed into place"
        synced = DiskCall("fsync", draft) in self.made[:at] or DiskCall("sync", Path("/")) in self.made[:at]
        assert synced, f"the data of {file} was not synced before its rename"
        self._assert_synced_after(at, file.parent, f"the name of {file}")
        self.assert_folders_durable()

    def assert_renamed(self, file: Path, to: Path) -> None:
        """A file got another name durably."""
        at = max((i for i, call in enumerate(self.made) if call == DiskCall("rename", file, to)), default=-1)
        assert at >= 0, f"{file} was not renamed to {to}"
        self._assert_synced_after(at, to.parent, f"the name of {to}")

    def assert_created(self, file: Path) -> None:
        """An empty file was created durably."""
        self._assert_synced_after(self._last("create", file), file.parent, f"the name of {file}")
        self.assert_folders_durable()

    def assert_removed(self, file: Path) -> None:
        """A file was removed durably."""
        self._assert_synced_after(self._last("unlink", file), file.parent, f"the absence of {file}")

    def assert_folders_durable(self) -> None:
        """Each folder that was made has its name on the disk."""
        for at, call in enumerate(self.made):
            if call.name == "mkdir":
                self._assert_synced_after(at, call.path.parent, f"the name of {call.path}")

    def _last(self, name: str, path: Path) -> int:
        at = max((i for i, call in enumerate(self.made) if call == DiskCall(name, path)), default=-1)
        assert at >= 0, f"no {name} of {path}"
        return at

    def _assert_synced_after(self, at: int, folder: Path, what: str) -> None:
        assert DiskCall("fsync", folder) in self.made[at:], f"{what} was not synced"
