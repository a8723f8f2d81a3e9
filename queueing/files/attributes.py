"""Extended attributes of a file that is replaced (xattr(7)): access control lists, labels, and those of users.

A new file in the place of an old one has none of them. Those that a kernel computes from the content are left to it.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_OF_THE_CONTENT: Final = frozenset({"security.ima", "security.evm"})
"""Integrity measurement: with other content they are wrong, and the kernel would refuse the file."""

_ACL: Final = "system.posix_acl_access"

_NONE: Final = frozenset({errno.ENOTSUP, errno.ENOSYS})
_GONE: Final = errno.ENODATA


class AttributeLost(OSError):
    """An attribute that the new file cannot have, mostly since only root may set it."""


def copy_attributes(old: Path, descriptor: int, *, strict: bool) -> None:
    """Give an open file the extended attributes of ``old``; one that it cannot have is left out, or raised if ``strict``.

    To be called when the content is written: a write takes ``security.capability`` away. An attribute that the file has already,
    such as the label of its folder, is not set; an ACL that it has by its folder's default, and ``old`` not, is taken away. Raises
    ``OSError`` where the attributes of ``old`` cannot be read.
    """
    names = _names(old)
    if names is None:
        return
    if _ACL not in names and _value(descriptor, _ACL) is not None:
        os.removexattr(descriptor, _ACL)
    for name in names:
        try:
            value = os.getxattr(old, name)
        except OSError as error:
            if error.errno == _GONE:  # removed meanwhile
                continue
            raise
        if _value(descriptor, name) == value:
            continue
        try:
            os.setxattr(descriptor, name, value)
        except OSError as error:
            if strict:
                told = f"its attribute {name} cannot be kept ({error.strerror})"
                raise AttributeLost(error.errno, told, str(old)) from error


def _names(old: Path) -> list[str] | None:
    """Names of the attributes; None for a file that is not there, and a file system without attributes."""
    try:
        return [name for name in os.listxattr(old) if name not in _OF_THE_CONTENT]
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno in _NONE:
            return None
        raise


def _value(descriptor: int, name: str) -> bytes | None:
    with contextlib.suppress(OSError):
        return os.getxattr(descriptor, name)
    return None
