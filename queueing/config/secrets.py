"""Secrets that mask themselves: a PIN or a password is read once, shown never, and stays in its process."""

from __future__ import annotations

import hmac
import os
import stat
import struct
from pathlib import Path
from typing import Final, NoReturn, SupportsIndex

from queueing.errors import ConfigError
from queueing.files.regular_file import open_regular

_MASK: Final = "***"
_LARGEST_BYTES: Final = 4096  # no PIN or password is longer; a larger file is the wrong file

_CREDENTIALS: Final = "$CREDENTIALS_DIRECTORY/"
"""Prefix of a file that systemd hands over by LoadCredential= (systemd.exec(5), CREDENTIALS)."""

_BYTE_ORDER_MARK: Final = "\ufeff"

# linux/posix_acl_xattr.h: a header of one 32-bit version, then entries of tag, permissions, id.
_ACL_ATTRIBUTE: Final = "system.posix_acl_access"
_ACL_HEADER_BYTES: Final = 4
_ACL_ENTRY: Final = struct.Struct("<HHI")
_ACL_GROUP_TAGS: Final = (0x04, 0x08)  # ACL_GROUP_OBJ, ACL_GROUP
_ACL_READ_WRITE: Final = 0x06


class Secret:
    """A string that leaves only through ``reveal()``.

    Shown, formatted or logged it is ``***``; pickling and copying raise ``TypeError``, as does every
    serialiser that does not know the class. Comparing takes the same time wherever the texts differ.
    Python keeps strings in memory until they are collected: this guards against leaks, not against a
    debugger.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Secret:
        """The text of a file, without one trailing newline.

        Raises ``ConfigError`` if the file cannot be read, is no regular file, is empty, is larger than 4096 bytes, is
        not UTF-8, begins with a byte order mark, has more than one line, or can be read or written by its group or by
        others: a wrong PIN costs one of the few tries that a token allows. A group bit that is only the mask of
        an access list which lets named users in (as systemd's LoadCredential sets it) is no offence.
        """
        name = os.fspath(path)
        if name.startswith(_CREDENTIALS):
            raise ConfigError(
                name,
                "",
                "cannot be read: CREDENTIALS_DIRECTORY is not set",
                "Start it by systemd with LoadCredential=, or set the variable to the folder of the secrets.",
            )
        try:
            with open_regular(Path(name)) as file:
                _refuse_shared(name, file.fileno())
                raw = file.read(_LARGEST_BYTES + 1)
        except OSError as exc:
            raise ConfigError(
                name, "", f"cannot be read ({exc.strerror})", "Name a file that the service's user can read."
            ) from exc
        return cls(_text(name, raw))

    def reveal(self) -> str:
        """The secret itself: pass it on at once, keep it nowhere."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({_MASK})"

    def __str__(self) -> str:
        return _MASK

    def __format__(self, spec: str) -> str:
        return _MASK

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    __hash__ = None  # type: ignore[assignment]  # a hash of a secret tells about the secret

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError("a Secret is not serialised")

    def __copy__(self) -> NoReturn:
        raise TypeError("a Secret is not copied")

    def __deepcopy__(self, memo: object) -> NoReturn:
        raise TypeError("a Secret is not copied")


def secret_path(folder: Path, name: str) -> str:
    """Path of the secret that a configuration file in ``folder`` names, relative to it or with a path of its own.

    ``$CREDENTIALS_DIRECTORY/NAME`` is the credential NAME of this process; it stays as it is where the process has
    none, which is a mistake only when the secret is read.
    """
    if not name.startswith(_CREDENTIALS):
        return str(folder / name)
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    return name if directory is None else str(Path(directory) / name.removeprefix(_CREDENTIALS))


def is_for_another_process(path: str) -> bool:
    """Whether it names a credential, and this process has none: only the process that has it can judge."""
    return path.startswith(_CREDENTIALS)


def _text(name: str, raw: bytes) -> str:
    if len(raw) > _LARGEST_BYTES:
        raise ConfigError(
            name, "", f"is larger than {_LARGEST_BYTES} bytes", "Name the file that has the secret alone."
        )
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        # `from None`: the decoder's error carries the bytes.
        raise ConfigError(name, "", "is not UTF-8 text", "Write the secret as one line of text.") from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise ConfigError(name, "", "is empty", "Write the secret as one line of text.")
    if text.startswith(_BYTE_ORDER_MARK):
        raise ConfigError(
            name,
            "",
            "begins with a byte order mark, which would be taken for a part of the secret",
            "Save it as UTF-8 without a byte order mark.",
        )
    if any(control in text for control in "\n\r\0"):
        raise ConfigError(
            name,
            "",
            "has a line break or a NUL inside",
            "Write the secret as one line, and nothing after it.",
        )
    return text


def _refuse_shared(name: str, descriptor: int) -> None:
    mode = os.fstat(descriptor).st_mode
    group = mode & (stat.S_IRGRP | stat.S_IWGRP)
    others = mode & (stat.S_IROTH | stat.S_IWOTH)
    if others or (group and not _group_bits_are_a_mask(descriptor)):
        raise ConfigError(
            name,
            "",
            f"is open to its group or to others (mode {stat.S_IMODE(mode):04o})",
            "Run `chmod 600` on it, and give it to the service's user.",
        )


def _group_bits_are_a_mask(descriptor: int) -> bool:
    """Whether the file has an access list that gives no group anything (acl(5), 'MASK')."""
    try:
        acl = os.getxattr(descriptor, _ACL_ATTRIBUTE)
    except OSError:
        return False
    entries = _ACL_ENTRY.iter_unpack(acl[_ACL_HEADER_BYTES:])
    return not any(tag in _ACL_GROUP_TAGS and perm & _ACL_READ_WRITE for tag, perm, _ in entries)
