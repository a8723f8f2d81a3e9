"""Files beneath a folder: of names that somebody else chose, in folders that others may write to.

No symbolic link below the folder is followed, also not one that is put there meanwhile: each folder on the way is opened
from the one above it (openat(2), ``O_NOFOLLOW``).
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, Final

from queueing.errors import InputUnreadable
from queueing.files.drafts import DRAFT_SUFFIX, draft_prefix

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def parts_below(name: str, folder: str) -> list[str]:
    """Parts of a name that somebody else chose, for a file below ``folder``; those of an absolute one without the root.

    Raises ``InputUnreadable`` for a name that no file can have, and for one that leads out of the folder.
    """
    parts = [part for part in PurePosixPath(name).parts if part != "/"]
    if "\x00" in name:
        raise InputUnreadable("the name has a NUL character, which no file can have in its name")
    if not parts:
        raise InputUnreadable("this is the name of no file")
    if ".." in parts:
        raise InputUnreadable(f"the name leads out of {folder}")
    return parts


def replace_beneath(
    folder: Path, names: Sequence[str], data: bytes, *, folder_mode: int = 0o777, sync: bool = False
) -> None:
    """Replace the content of ``folder/NAMES...`` by ``data``; missing folders are made, with ``folder_mode`` less the umask.

    ``folder`` itself may be a link. A link in the file's place is replaced, and what it leads to is not changed; one in the
    place of a folder is ``ELOOP``. ``sync``: returns when data and name are on disk. Raises ``OSError`` with
    the file's path; then the file has the old content, and no part of the new one is left.
    """
    rewrite_beneath(
        folder, names, lambda stream: stream.write(data), folder_mode=folder_mode, sync=sync, sync_name=sync
    )


def rewrite_beneath(
    folder: Path,
    names: Sequence[str],
    write: Callable[[BinaryIO], object],
    *,
    folder_mode: int = 0o777,
    sync: bool = False,
    sync_name: bool = False,
) -> None:
    """Replace a file as ``replace_beneath`` does, with the content that ``write`` writes. An error of ``write`` leaves the file as it was.

    With ``sync`` alone its data is on disk before it has the name; the name is when the folder has been synced, or with ``sync_name``.
    """
    try:
        _rewrite_beneath(folder, names, write, folder_mode, sync=sync, sync_name=sync_name)
    except OSError as error:  # of an open folder it has no name, or the last part only
        raise OSError(error.errno, error.strerror, str(folder.joinpath(*names))) from error


def remove_beneath(folder: Path, names: Sequence[str]) -> None:
    """Remove the file ``folder/NAMES...``, and the folder around it if that is empty then; nothing where there is no such file.

    ``folder`` itself may be a link; one below it is removed in the file's place, and not followed in the place of a folder. Raises
    ``OSError`` with the file's path.
    """
    try:
        with contextlib.ExitStack() as opened:
            above = descriptor = _opened(opened, os.open(folder, _FOLDER))
            for name in names[:-1]:
                above, descriptor = (
                    descriptor,
                    _opened(opened, os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=descriptor)),
                )
            os.unlink(names[-1], dir_fd=descriptor)
            if len(names) > 1:
                with contextlib.suppress(OSError):  # it has other files
                    os.rmdir(names[-2], dir_fd=above)
    except FileNotFoundError:
        return
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(folder.joinpath(*names))) from error


def _opened(stack: contextlib.ExitStack, descriptor: int) -> int:
    stack.callback(os.close, descriptor)
    return descriptor


def _rewrite_beneath(
    folder: Path,
    names: Sequence[str],
    write: Callable[[BinaryIO], object],
    folder_mode: int,
    *,
    sync: bool,
    sync_name: bool,
) -> None:
    if not folder.is_dir():
        folder.mkdir(parents=True, mode=folder_mode, exist_ok=True)
    descriptor = os.open(folder, _FOLDER)
    try:
        for name in names[:-1]:
            below = _entered(descriptor, name, folder_mode)
            os.close(descriptor)
            descriptor = below
        _rewrite(descriptor, names[-1], write, sync=sync)
        if sync_name:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _entered(above: int, name: str, mode: int) -> int:
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, mode, dir_fd=above)
    try:
        return os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=above)
    except OSError as error:
        if stat.S_ISLNK(os.stat(name, dir_fd=above, follow_symlinks=False).st_mode):
            raise OSError(errno.ELOOP, f"{name} is a symbolic link, which is not followed") from error
        raise


def _rewrite(folder: int, name: str, write: Callable[[BinaryIO], object], *, sync: bool) -> None:
    # A name of its own: another process that writes the same file would rename the other's part, unfinished.
    part = f"{draft_prefix(name)}{secrets.token_hex(4)}{DRAFT_SUFFIX}"
    descriptor = os.open(part, _NEW_FILE, 0o666, dir_fd=folder)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            write(stream)
            stream.flush()
            if sync:
                os.fsync(descriptor)
        os.rename(part, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(part, dir_fd=folder)
        raise
