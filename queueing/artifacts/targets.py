"""Places of signed files: in the file's own place, or a name below a folder."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Self

from queueing.errors import OutputUnwritable, SigningError
from queueing.files.beneath import parts_below, rewrite_beneath
from queueing.files.durable_file import rewrite

_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


class WriteTurns:
    """Turns of threads that write files: side by side, or one alone while no other is writing.

    One that wants to be alone waits for those that have begun, and no other begins meanwhile.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._writing = 0
        self._waiting_to_be_alone = 0

    @contextlib.contextmanager
    def beside_others(self) -> Iterator[None]:
        """Within the block others may write, too."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting_to_be_alone)
            self._writing += 1
        try:
            yield
        finally:
            with self._changed:
                self._writing -= 1
                self._changed.notify_all()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Within the block no other thread writes."""
        with self._changed:
            self._waiting_to_be_alone += 1
            try:
                self._changed.wait_for(lambda: not self._writing)
                self._writing += 1
            except BaseException:
                self._waiting_to_be_alone -= 1
                self._changed.notify_all()
                raise
        try:
            yield
        finally:
            with self._changed:
                self._writing -= 1
                self._waiting_to_be_alone -= 1
                self._changed.notify_all()


_TURNS: Final = WriteTurns()

_COMPOSING: Final = threading.BoundedSemaphore(os.cpu_count() or 1)
"""A core each for threads that compose a file. More would take turns with the interpreter, and leave none to those that hash; what waits
for a disk to sync needs no core.
"""


@dataclass(frozen=True, slots=True)
class Target:
    """Place of a signed file or a signature. ``folder`` None: in the place of ``path``, links followed."""

    path: Path
    folder: Path | None = None
    names: tuple[str, ...] = ()

    @classmethod
    def below(cls, folder: Path, name: Path, suffix: str = "") -> Self:
        """``folder/NAME`` with the folders of a relative name, links not followed.

        Raises ``InputUnreadable`` as ``parts_below``.
        """
        parts = parts_below(str(name), "--out-dir")
        names = (*parts[:-1], parts[-1] + suffix)
        return cls(folder.joinpath(*names), folder, names)

    @classmethod
    def beside(cls, file: Path, suffix: str) -> Self:
        """A file beside another one, of its name and a suffix."""
        return cls(file.with_name(file.name + suffix), file.parent, (file.name + suffix,))

    def folders(self) -> list[Path]:
        """Folders that get a name for the file, from its own one up to ``folder``."""
        if self.folder is None:
            return [Path(os.path.realpath(self.path)).parent]
        return list(self.path.parents[: len(self.names)])

    def folders_above(self) -> list[Path]:
        """Folders that get a name for ``folder``, which is not there yet: those that are made for it, too, and the one that they are made in."""
        found: list[Path] = []
        place = self.folder and Path(os.path.realpath(self.folder))
        while place is not None and not place.is_dir() and place != place.parent:
            place = place.parent
            found.append(place)
        return found

    def check_writable(self) -> None:
        """Raise ``OutputUnwritable`` for a folder that is there and not writable: before anything is signed for it."""
        folder = Path(os.path.realpath(self.path)).parent if self.folder is None else self.path.parent
        if os.path.exists(folder) and not os.access(folder, os.W_OK | os.X_OK):  # noqa: PTH110 - errors are told when it is written
            is_read_only = os.statvfs(folder).f_flag & os.ST_RDONLY
            reason = os.strerror(errno.EROFS if is_read_only else errno.EACCES)
            raise OutputUnwritable(f"{self.path} cannot be written: {reason}")

    def write(self, write: Callable[[BinaryIO], object], *, mode: int) -> None:
        """Replace the file atomically by what ``write`` writes; its data is on disk on return, its name when ``folders`` are synced.

        ``mode``: of a new file in place. Raises ``OutputUnwritable``, or the ``SigningError`` of ``write``; the old file stays. Where the
        disk is full it is tried once more, apart from others: the part of a larger file beside it may have filled the disk.
        """
        try:
            try:
                with _TURNS.beside_others():
                    self._rewrite(write, mode)
            except OSError as error:
                if error.errno not in _FULL:
                    raise
                with _TURNS.alone():
                    self._rewrite(write, mode)
        except SigningError:
            raise
        except OSError as error:
            raise OutputUnwritable(f"{self.path} cannot be written: {error.strerror}") from error

    def _rewrite(self, write: Callable[[BinaryIO], object], mode: int) -> None:
        def compose(stream: BinaryIO) -> None:
            with _COMPOSING:
                write(stream)

        if self.folder is None:
            rewrite(self.path, compose, mode=mode)
        else:
            rewrite_beneath(self.folder, self.names, compose, sync=True)
