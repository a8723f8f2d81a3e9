"""A secret is shown by nothing but ``reveal``, and comes only from a file that is its owner's alone."""

from __future__ import annotations

import copy
import hmac
import json
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from queueing.config.secrets import Secret, is_for_another_process, secret_path
from queueing.errors import ConfigError

PIN = "correct horse"


@pytest.fixture
def pin_file(tmp_path: Path) -> Path:
    path = tmp_path / "pin"
    path.write_text(PIN + "\n")
    path.chmod(0o600)
    return path


@pytest.mark.parametrize(
    "show", [repr, str, "{}".format, "{0!r:>20}".format, "{:>20}".format, "%s".__mod__, lambda s: f"{[s]}"]
)
def test_no_way_of_showing_a_secret_shows_it(show: Callable[[Secret], str]) -> None:
    shown = show(Secret(PIN))
    assert PIN not in shown
    assert "***" in shown


@pytest.mark.parametrize(
    "leak",
    [
        pickle.dumps,
        copy.copy,
        copy.deepcopy,
        json.dumps,
        msgspec.json.encode,
        msgspec.msgpack.encode,
        msgspec.to_builtins,
        hash,
        vars,
    ],
)
def test_no_serialiser_takes_a_secret(leak: Callable[[Any], object]) -> None:
    with pytest.raises(TypeError):
        leak(Secret(PIN))


def test_a_secret_equals_only_the_same_secret() -> None:
    assert Secret(PIN) == Secret(PIN)
    assert Secret(PIN) != Secret("other")
    assert Secret(PIN) != PIN


def test_a_secret_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[bytes, bytes]] = []

    def compare(a: bytes, b: bytes) -> bool:
        calls.append((a, b))
        return True

    monkeypatch.setattr(hmac, "compare_digest", compare)
    assert Secret("a") == Secret("b")
    assert calls == [(b"a", b"b")]


def test_a_file_gives_its_text_without_one_trailing_newline(pin_file: Path) -> None:
    assert Secret.from_file(pin_file).reveal() == PIN
    pin_file.write_text(PIN)
    assert Secret.from_file(str(pin_file)).reveal() == PIN
    pin_file.write_text(PIN + "\r\n")
    assert Secret.from_file(pin_file).reveal() == PIN
    pin_file.write_text(" " + PIN + " \n")
    assert Secret.from_file(pin_file).reveal() == " " + PIN + " "


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"\r\n",
        b"\xff\xfe",
        b"x" * 4097,
        b"\xef\xbb\xbfxxx\n",
        b"xxx\n\n",
        b"xxx\r\r\n",
        b"xxx\nyyy",
        b"x\0xx",
    ],
)
def test_a_file_that_cannot_be_a_secret_is_refused_without_its_content(
    pin_file: Path, content: bytes
) -> None:
    pin_file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        Secret.from_file(pin_file)
    assert caught.value.file == str(pin_file)
    assert caught.value.remedy
    assert "xxx" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o644, 0o666])
def test_a_file_that_others_can_read_or_write_is_refused(pin_file: Path, mode: int) -> None:
    pin_file.chmod(mode)
    with pytest.raises(ConfigError, match="open to its group or to others") as caught:
        Secret.from_file(pin_file)
    assert PIN not in str(caught.value)
    assert "chmod 600" in caught.value.remedy


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o700, 0o610])
def test_a_file_of_its_owner_alone_is_taken(pin_file: Path, mode: int) -> None:
    pin_file.chmod(mode)
    assert Secret.from_file(pin_file).reveal() == PIN


def test_a_file_that_is_missing_is_a_mistake_in_the_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        Secret.from_file(tmp_path / "nothing")


@pytest.mark.timeout(10)
def test_a_pipe_or_a_device_is_no_secret(tmp_path: Path) -> None:
    """Reading it would wait for a writer, or never end."""
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name in (tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(ConfigError, match="not a regular file"):
            Secret.from_file(name)


def _acl(*entries: tuple[int, int, int]) -> bytes:
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


NO_ID = 0xFFFFFFFF
USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20


def test_a_credential_of_systemd_is_taken_though_its_mask_looks_like_a_group_bit(
    pin_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pin_file.chmod(0o440)  # what stat shows of mode 0400 with an entry for the service's user
    entries = [
        (USER_OBJ, 4, NO_ID),
        (USER, 4, 990),
        (GROUP_OBJ, 0, NO_ID),
        (MASK, 4, NO_ID),
        (OTHER, 0, NO_ID),
    ]
    monkeypatch.setattr(os, "getxattr", lambda fd, name: _acl(*entries))
    assert Secret.from_file(pin_file).reveal() == PIN


@pytest.mark.parametrize("entry", [(GROUP_OBJ, 4, NO_ID), (GROUP, 4, 27), (GROUP_OBJ, 2, NO_ID)])
def test_an_access_list_that_lets_a_group_in_is_refused(
    pin_file: Path, monkeypatch: pytest.MonkeyPatch, entry: tuple[int, int, int]
) -> None:
    pin_file.chmod(0o440)
    monkeypatch.setattr(os, "getxattr", lambda fd, name: _acl((USER_OBJ, 4, NO_ID), entry, (MASK, 4, NO_ID)))
    with pytest.raises(ConfigError, match="open to its group"):
        Secret.from_file(pin_file)


def test_a_credential_is_found_where_systemd_put_it(pin_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(pin_file.parent))
    path = secret_path(Path("/etc/sigmill"), f"$CREDENTIALS_DIRECTORY/{pin_file.name}")
    assert Secret.from_file(path).reveal() == PIN


def test_a_credential_of_another_process_is_a_mistake_only_when_it_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The worker reads the lanes' configuration, and not their PINs."""
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    path = secret_path(Path("/etc/sigmill"), "$CREDENTIALS_DIRECTORY/acme.pin")
    assert is_for_another_process(path)
    with pytest.raises(ConfigError, match="CREDENTIALS_DIRECTORY is not set") as caught:
        Secret.from_file(path)
    assert "LoadCredential" in caught.value.remedy


@pytest.mark.parametrize(
    "name, where",
    [
        ("acme.pin", "/etc/sigmill/acme.pin"),
        ("/run/pin", "/run/pin"),
        ("$HOME/pin", "/etc/sigmill/$HOME/pin"),
    ],
)
def test_other_names_are_files_and_no_variable_is_looked_up(name: str, where: str) -> None:
    path = secret_path(Path("/etc/sigmill"), name)
    assert path == where
    assert not is_for_another_process(path)
