"""Durable replacement of a file: new data synced, renamed into place, folder synced.

A reader sees the old file or the new one, never a part; after a power cut the same holds (rename(2), fsync(2)).
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from queueing.files.attributes import copy_attributes
from queueing.files.drafts import DRAFT_SUFFIX, draft_prefix, sweep_folder
from queueing.files.folders import is_there
from queueing.files.regular_file import open_regular

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

OWNER_ONLY: Final = 0o600
OWNER_ONLY_FOLDER: Final = 0o700

_SYNC_ONE_BY_ONE: Final = 64
"""Above this many files one sync(2) is faster than an fsync each."""


def replace_durably(file: Path, data: bytes, *, mode: int = OWNER_ONLY) -> None:
    """Replace the content of ``file`` by ``data``; returns when both data and name are on disk.

    An existing file keeps its mode and, where the caller may set them, its owner, group and extended attributes (ACLs, labels); a
    new one gets ``mode``, and that of root the owner and group of its folder: the user whose folder it is has to read it. A
    symbolic link stays a link, and the file behind it is replaced; other names of it (hard links) keep the old content. Drafts
    that crashed writers of ``file`` left are removed after an hour. Costs two fsyncs and a listing of the folder. Raises ``OSError``; then ``file`` has the old
    content, or the new content under a name that a power cut may undo. A device, pipe or folder is never replaced.
    """
    _replace(file, partial(_write, data), mode)


def rewrite(file: Path, write: Callable[[BinaryIO], object], *, mode: int) -> None:
    """Replace the content of ``file`` by what ``write`` writes to a new file; an error of ``write`` leaves all as it was.

    Mode, owner and links as ``replace_durably``, and the data is on disk on return; the name may be the old one again after
    a power cut, with the old content. Costs one fsync. ``sweep`` removes what crashed writers left. Raises ``OSError``, also for
    an extended attribute that the new file cannot have (``AttributeLost``).
    """
    target = Path(os.path.realpath(file))
    _rename(_write_draft(target, write, mode, strict=True), target)


def replace_all_durably(contents: Mapping[Path, bytes], *, mode: int = OWNER_ONLY) -> dict[Path, OSError]:
    """Replace each file as ``replace_durably`` does; returns the error of each file that failed.

    One fsync for each file and each folder; above 64 files one sync(2) for all of the data, which reports no errors.
    """
    failed: dict[Path, OSError] = {}
    drafts: dict[Path, tuple[Path, Path]] = {}
    targets = {file: Path(os.path.realpath(file)) for file in contents}
    names = {target.name for target in targets.values()}
    for folder in {target.parent for target in targets.values()}:
        sweep_folder(folder, names)
    sync_each = len(contents) <= _SYNC_ONE_BY_ONE
    for file, target in targets.items():
        try:
            drafts[file] = _write_draft(target, partial(_write, contents[file]), mode, sync=sync_each), target
        except OSError as error:
            failed[file] = error
    if not sync_each:
        os.sync()
    for file, (draft, target) in drafts.items():
        try:
            _rename(draft, target)
        except OSError as error:
            failed[file] = error
    for folder in {target.parent for _, target in drafts.values()}:
        try:
            sync_folder(folder)
        except OSError as error:
            failed |= {file: error for file, (_, target) in drafts.items() if target.parent == folder}
    return failed


def _write(data: bytes, stream: BinaryIO) -> None:
    stream.write(data)


def copy_durably(source: Path, to: Path) -> None:
    """Replace the content of ``to`` by that of ``source``; a new file gets its mode. Raises ``OSError``."""
    with open_regular(source) as original:
        _replace(to, partial(shutil.copyfileobj, original), source.stat().st_mode & 0o777)


def create_durably(file: Path) -> bool:
    """Create ``file``, empty and for its owner only; whether it did not exist. Its name is on disk on return.

    Root gives it to the owner of its folder. Raises ``OSError``.
    """
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, OWNER_ONLY)
    except FileExistsError:
        created = False
    else:
        try:
            give_to_owner_of(file.parent, descriptor)
        finally:
            os.close(descriptor)
        created = True
    sync_folder(file.parent)  # an existing name may be that of a process that crashed before its sync
    return created


def remove_durably(file: Path) -> bool:
    """Remove ``file``; whether it existed. Its absence is on disk on return. Raises ``OSError``."""
    try:
        file.unlink()
    except FileNotFoundError:
        return False
    sync_folder(file.parent)
    return True


def make_folder(folder: Path, *, mode: int = OWNER_ONLY_FOLDER) -> None:
    """Create ``folder`` with ``mode``, and its missing parents; every new name is on disk on return.

    A file is lost with the name of its folder. Root gives a new folder to the owner and group of its parent: a service
    whose state directory it is has to use it. Free where the folder exists. Raises ``OSError``.
    """
    if is_there(folder) and stat.S_ISDIR(folder.stat().st_mode):
        return
    if not is_there(folder.parent):
        make_folder(folder.parent, mode=0o777)  # less the umask, as mkdir -p does
    folder.mkdir(mode=mode, exist_ok=True)
    give_to_owner_of_parent(folder)
    sync_folder(folder.parent)


def give_to_owner_of_parent(folder: Path) -> None:
    """Give a folder the owner and group of its parent, as root; as another user, do nothing. Raises ``OSError``."""
    if os.geteuid() != 0:
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        give_to_owner_of(folder.parent, descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable: a synced file whose name is not on disk is lost. Raises ``OSError``."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _replace(file: Path, write: Callable[[BinaryIO], object], mode: int) -> None:
    target = Path(os.path.realpath(file))
    sweep_folder(target.parent, {target.name})
    _rename(_write_draft(target, write, mode), target)
    sync_folder(target.parent)


def _write_draft(
    target: Path,
    write: Callable[[BinaryIO], object],
    mode: int,
    *,
    sync: bool = True,
    strict: bool = False,
) -> Path:
    """Write a file in the folder of ``target`` under a name of its own: other processes may be replacing ``target``, too.

    ``strict``: an extended attribute that it cannot have is raised.
    """
    _refuse_irregular(target)
    prefix = draft_prefix(target.name)
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=prefix, suffix=DRAFT_SUFFIX)
    draft = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            _copy_owner_and_mode(descriptor, target, mode)
            write(stream)
            stream.flush()
            copy_attributes(target, descriptor, strict=strict)
            if sync:
                os.fsync(descriptor)
    except BaseException:
        _discard(draft)
        raise
    return draft


def _refuse_irregular(target: Path) -> None:
    """Raise ``OSError`` for a device, a pipe or a folder: a file in the place of ``/dev/null`` breaks every program."""
    mode = target.stat().st_mode if is_there(target) else stat.S_IFREG
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "not a regular file", str(target))


def _rename(draft: Path, target: Path) -> None:
    try:
        draft.replace(target)
    except BaseException:
        _discard(draft)
        raise


def _discard(draft: Path) -> None:
    with contextlib.suppress(OSError):  # it is swept up later
        draft.unlink()


def _copy_owner_and_mode(descriptor: int, old: Path, mode: int) -> None:
    try:
        facts = old.stat()
    except FileNotFoundError:
        os.fchmod(descriptor, mode)
        give_to_owner_of(old.parent, descriptor)
        return
    try:
        os.fchown(descriptor, facts.st_uid, facts.st_gid)
    except PermissionError:  # only root may give files away; others may still choose among their groups
        with contextlib.suppress(PermissionError):
            os.fchown(descriptor, -1, facts.st_gid)
    os.fchmod(descriptor, facts.st_mode & 0o777)


def give_to_owner_of(folder: Path, descriptor: int) -> None:
    """Give a file that root made to the owner and group of its folder, so that the service can open it.

    By the descriptor, not by name: the folder's owner could put a link under the name to a file of another user.
    """
    if os.geteuid() == 0:
        facts = folder.stat()
        os.fchown(descriptor, facts.st_uid, facts.st_gid)
