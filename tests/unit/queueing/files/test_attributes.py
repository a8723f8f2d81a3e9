"""Extended attributes of a file that is replaced: ACLs and labels stay, or an error names the lost one."""

from __future__ import annotations

import errno
import os
import stat
import struct
from pathlib import Path

import pytest

from queueing.files.attributes import AttributeLost
from queueing.files.durable_file import replace_all_durably, replace_durably, rewrite

ANY = 0xFFFFFFFF
ACL = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", tag, rights, who)
    for tag, rights, who in ((1, 6, ANY), (2, 4, 12345), (4, 4, ANY), (16, 6, ANY), (32, 0, ANY))
)
"""user::rw-, user:12345:r--, group::r--, mask::rw-, other::--- as the kernel has it (acl(5), posix_acl_xattr.h)."""

SETXATTR = os.setxattr


def attributes(file: Path) -> dict[str, bytes]:
    return {name: os.getxattr(file, name) for name in os.listxattr(file) if name != "security.selinux"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with an ACL and an attribute of a user, on a file system that has both."""
    made = tmp_path / "app.exe"
    made.write_bytes(b"old")
    try:
        os.setxattr(made, "user.origin", b"build 7")
        os.setxattr(made, "system.posix_acl_access", ACL)
    except OSError as error:
        pytest.skip(f"{tmp_path} has no extended attributes or no ACLs: {error.strerror}")
    return made


def test_a_file_in_place_keeps_its_acl_and_attributes(file: Path) -> None:
    """By each way to replace a file: the same users can read it as before."""
    before, mode = attributes(file), stat.S_IMODE(file.stat().st_mode)
    assert before == {"user.origin": b"build 7", "system.posix_acl_access": ACL}
    rewrite(file, lambda stream: stream.write(b"new"), mode=0o600)
    assert (file.read_bytes(), attributes(file), stat.S_IMODE(file.stat().st_mode)) == (b"new", before, mode)
    replace_durably(file, b"newer")
    assert (file.read_bytes(), attributes(file)) == (b"newer", before)
    assert replace_all_durably({file: b"newest"}) == {}
    assert (file.read_bytes(), attributes(file)) == (b"newest", before)


def test_a_file_without_an_acl_gets_none_from_its_folder(file: Path) -> None:
    """The folder's default is for new files: with it, others could read the replaced one. A new file has it."""
    os.removexattr(file, "system.posix_acl_access")
    file.chmod(0o640)
    os.setxattr(file.parent, "system.posix_acl_default", ACL)
    rewrite(file, lambda stream: stream.write(b"new"), mode=0o600)
    assert attributes(file) == {"user.origin": b"build 7"}
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    rewrite(file.with_name("new.exe"), lambda stream: stream.write(b"new"), mode=0o640)
    assert set(attributes(file.with_name("new.exe"))) == {"system.posix_acl_access"}


def refuse(monkeypatch: pytest.MonkeyPatch, refused: str) -> None:
    def setxattr(target: int | Path, name: str, value: bytes) -> None:
        if name == refused and isinstance(target, int):
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        SETXATTR(target, name, value)

    monkeypatch.setattr(os, "setxattr", setxattr)


def test_an_attribute_that_the_new_file_cannot_have_is_told(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is as it was, and the sentence names the attribute; for files of the service it is left out, as an owner is."""
    refuse(monkeypatch, "user.origin")
    with pytest.raises(
        AttributeLost, match=r"attribute user\.origin cannot be kept \(Operation not permitted\)"
    ):
        rewrite(file, lambda stream: stream.write(b"new"), mode=0o600)
    assert [x.read_bytes() for x in file.parent.iterdir()] == [b"old"]
    replace_durably(file, b"new")
    assert attributes(file) == {"system.posix_acl_access": ACL}


def test_an_attribute_that_the_new_file_has_already_is_not_set(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A label that the folder gives, which the writer may not set."""
    os.removexattr(file, "system.posix_acl_access")
    refuse(monkeypatch, "user.origin")
    getxattr = os.getxattr
    monkeypatch.setattr(
        os, "getxattr", lambda target, name: b"x" if name == "user.origin" else getxattr(target, name)
    )
    rewrite(file, lambda stream: stream.write(b"new"), mode=0o600)
    assert file.read_bytes() == b"new"


def test_what_the_kernel_computes_from_the_content_is_left_to_it(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A measurement of the old content would make the new one unreadable: it is not copied."""
    listxattr, getxattr, copied = os.listxattr, os.getxattr, list[str]()
    computed = ("security.ima", "security.evm")

    def value(target: int | Path, name: str) -> bytes:
        return str(target).encode() if name in computed else getxattr(target, name)

    def setxattr(target: int | Path, name: str, content: bytes) -> None:
        copied.append(name)
        if name not in computed:
            SETXATTR(target, name, content)

    monkeypatch.setattr(os, "listxattr", lambda target: [*listxattr(target), *computed])
    monkeypatch.setattr(os, "getxattr", value)
    monkeypatch.setattr(os, "setxattr", setxattr)
    rewrite(file, lambda stream: stream.write(b"new"), mode=0o600)
    assert file.read_bytes() == b"new"
    assert "user.origin" in copied
    assert not {*copied} & {*computed}


@pytest.mark.parametrize("code", [errno.ENOTSUP, errno.ENOSYS])
def test_a_file_system_without_attributes_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """There is nothing to keep."""

    def listxattr(_: Path) -> list[str]:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "listxattr", listxattr)
    (tmp_path / "a").write_bytes(b"old")
    rewrite(tmp_path / "a", lambda stream: stream.write(b"new"), mode=0o600)
    assert (tmp_path / "a").read_bytes() == b"new"


def test_an_attribute_that_is_removed_meanwhile_is_no_error(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the list and its value."""
    listxattr = os.listxattr
    monkeypatch.setattr(os, "listxattr", lambda target: [*listxattr(target), "user.gone"])
    rewrite(file, lambda stream: stream.write(b"new"), mode=0o600)
    assert file.read_bytes() == b"new"
