"""A file that is written whole: after a failure, such as a full disk, the old content is there.

Lines of its own beside ``queueing.files.durable_file``, which imports much that ``sigmill-gpg`` does not need.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import Final

from queueing.files.attributes import copy_attributes
from queueing.files.drafts import DRAFT_SUFFIX, draft_prefix, sweep_folder

_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC

_OPEN_ALREADY: Final = ("/dev/fd/", "/dev/std", "/proc/")
"""Names of descriptors: the program that opened one has the file, and would not see another one in its place."""


def would_be_lost(path: str) -> bool:
    """Whether a regular file is there, which writing replaces; not one that was opened for the output."""
    facts = _facts(path)
    return facts is not None and stat.S_ISREG(facts.st_mode) and not _is_open_already(path)


def write_whole(path: str, content: bytes) -> None:
    """Write a draft beside the file and rename it; a device, a pipe and ``/dev/stdout`` are written as they are.

    An existing file keeps its mode and attributes and, where the caller may set them, owner and group; a link stays one. Drafts
    that killed programs left of this file are removed after an hour. Costs an fsync and a listing of the folder. Raises ``OSError`` with the name ``path``.
    """
    try:
        facts = _facts(path)
        if _is_open_already(path) or (facts is not None and not stat.S_ISREG(facts.st_mode)):
            Path(path).write_bytes(content)
        else:
            _replace(Path(os.path.realpath(path)), content, facts)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None


def _facts(path: str) -> os.stat_result | None:
    try:
        return Path(path).stat()
    except FileNotFoundError:
        return None


def _is_open_already(path: str) -> bool:
    return os.path.abspath(path).startswith(_OPEN_ALREADY)  # noqa: PTH100  # links as they are named


def _replace(target: Path, content: bytes, old: os.stat_result | None) -> None:
    sweep_folder(target.parent, {target.name})
    draft = target.parent / f"{draft_prefix(target.name)}{os.urandom(4).hex()}{DRAFT_SUFFIX}"
    descriptor = os.open(draft, _NEW, 0o666)  # less the umask
    try:
        with os.fdopen(descriptor, "wb") as stream:
            if old is not None:
                for uid in (-1, old.st_uid):  # the group alone may be one that the caller may give
                    with contextlib.suppress(PermissionError):
                        os.fchown(descriptor, uid, old.st_gid)
                os.fchmod(descriptor, old.st_mode & 0o777)
            stream.write(content)
            stream.flush()
            if old is not None:
                copy_attributes(target, descriptor, strict=False)
            os.fsync(descriptor)
        draft.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise
