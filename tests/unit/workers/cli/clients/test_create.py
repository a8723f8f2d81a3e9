"""TOML text and the [redis] table of a new client's file."""

from __future__ import annotations

import base64
import errno
import os
import tomllib
from pathlib import Path
from typing import NoReturn

import click
import pytest
from click.testing import CliRunner

from queueing.client.config import ClientConfig
from queueing.errors import SigningError
from tests.support.fakes.config_files import p256_key
from workers.cli.clients.create import create, redis_table, toml_text
from workers.cli.shell.output import Output


def test_redis_urls_become_tables() -> None:
    """Each form of --redis is read, and a malformed one is a usage error that does not repeat a password."""
    assert redis_table("redis://u@h/3", None) == {"host": "h", "port": 6379, "database": 3, "username": "u"}
    assert redis_table("unix:///run/r.sock?db=2", None) == {"unix_socket": "/run/r.sock", "database": 2}
    assert redis_table("rediss://h:1", "/ca.pem")["tls"] == {"ca_file": "/ca.pem"}
    wrong = (
        "rediss://h",
        "http://h",
        "redis://",
        "redis://h/x",
        "redis://h:x",
        "redis://:pw@h",
        "redis://[::1",
    )
    for url in wrong:
        with pytest.raises(click.UsageError) as caught:
            redis_table(url, None)
        assert "pw" not in caught.value.message


def test_toml_text_is_read_back() -> None:
    """Any string, numbers, booleans, lists and tables are read back as they were; None is refused."""
    table = {"s": 'a"b\\c\n\x7f\té', "n": 3, "f": 1.5, "b": True, "l": ["x", "y"], "t": {"u v": {"w": "x"}}}
    assert tomllib.loads(toml_text(table)) == table
    with pytest.raises(TypeError):
        toml_text({"x": None})


def created(folder: Path, *words: str) -> tuple[int, str]:
    """Exit code and output of the command with these words, for a relay."""
    command = ["build-1", "--tenant", "acme", "--audience", "prod", "--url", "https://sign.example:8443"]
    command += ["--service-key", base64.b64encode(p256_key(1).spki).decode(), "--out", str(folder), *words]
    result = CliRunner().invoke(create, command, obj=Output(as_json=True), standalone_mode=True)
    if isinstance(result.exception, SigningError | OSError):
        raise result.exception
    return result.exit_code, result.output


def test_the_certificate_of_this_host_for_a_relay_is_in_the_file(tmp_path: Path) -> None:
    """With its key, both as absolute paths."""
    code, output = created(tmp_path / "made", "--cert-file", "/etc/build.pem", "--key-file", "/etc/build.key")
    assert code == 0, output
    config = ClientConfig.from_file(tmp_path / "made" / "client.toml")
    assert (config.cert_file, config.key_file) == ("/etc/build.pem", "/etc/build.key")


@pytest.mark.parametrize("option", ["--cert-file", "--key-file"])
def test_a_certificate_without_its_key_is_a_usage_error(tmp_path: Path, option: str) -> None:
    """And nothing is written."""
    code, output = created(tmp_path / "made", option, "/etc/build.pem")
    assert (code, "belong together" in output) == (2, True)
    assert not (tmp_path / "made").exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A file stands where the folder should be."""
    (tmp_path / "taken").touch()
    with pytest.raises(NotADirectoryError, match=rf"{tmp_path}/taken"):
        created(tmp_path / "taken" / "ci")


def test_a_full_disk_leaves_no_key_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the folder, where the system names no file, and not stdout."""

    def full(*_: object) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match=rf"No space left on device: '{tmp_path}'"):
        created(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_disk_that_is_full_in_the_middle_of_a_key_leaves_none_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor the draft of one, whose name no command knows."""

    def full(_: int) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device"):
        created(tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_key_of_a_process_that_was_quicker_stays(tmp_path: Path) -> None:
    """Also a link to a disk that is not mounted."""
    (tmp_path / "client.key").symlink_to(tmp_path / "away")
    code, output = created(tmp_path)
    assert (code, "exists already" in output) == (2, True)
    assert [each.name for each in tmp_path.iterdir()] == ["client.key"]


def test_the_draft_of_a_key_that_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    """It has a private key that nobody uses, an hour later; a young one may be another process's."""
    drafts = [tmp_path / f".client.key.{number}.new" for number in (1, 2)]
    for draft in drafts:
        draft.touch()
    os.utime(drafts[0], (0, 0))
    assert created(tmp_path)[0] == 0
    assert [draft.exists() for draft in drafts] == [False, True]
