"""Password and TLS files are taken as they are when a connection is made; what cannot be read leaves the former in use."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import pytest

from queueing.config.redis import TlsConfig
from queueing.errors import ConfigError
from queueing.redis.rotation import SETTLED_S, PasswordFile, TlsFiles
from tests.support.redis.tls import ClientAuthority
from workers.dev.trial_tls import write_authority_and_server

LATER_S = SETTLED_S + 1.0


def password_file(folder: Path, text: str = "first\n") -> Path:
    file = folder / "password"
    file.touch(0o600)
    file.write_text(text)
    return file


class Tls:
    """Files of a client with a certificate, and a clock far enough ahead of their times."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        write_authority_and_server(folder, host="127.0.0.1")
        self.clients = ClientAuthority(folder / "clients.pem")
        self.clients.issue(folder)
        self.ahead_s = LATER_S
        config = TlsConfig(
            ca_file=str(folder / "ca.pem"),
            cert_file=str(folder / "client.pem"),
            key_file=str(folder / "client.key"),
        )
        self.files = TlsFiles(config, clock_s=lambda: time.time() + self.ahead_s)


def test_the_password_is_the_one_in_the_file(tmp_path: Path) -> None:
    """With the user's name where there is one."""
    file = password_file(tmp_path)
    credentials = PasswordFile("worker", str(file))
    assert credentials.get_credentials() == ("worker", "first")
    file.write_text("second\n")
    assert credentials.get_credentials() == ("worker", "second")
    assert PasswordFile(None, str(file)).get_credentials() == ("second",)


@pytest.mark.parametrize("trouble", ["empty", "gone", "shared"])
def test_a_password_file_that_cannot_be_used_leaves_the_former_password(
    tmp_path: Path, trouble: str, caplog: pytest.LogCaptureFixture
) -> None:
    """As in the middle of its replacement; it is logged once at most, without the password."""
    file = password_file(tmp_path)
    credentials = PasswordFile(None, str(file))
    if trouble == "empty":
        file.write_text("")
    elif trouble == "gone":
        file.unlink()
    else:
        file.chmod(0o644)
    with caplog.at_level(logging.WARNING, logger="sigmill.redis"):
        assert [credentials.get_credentials() for _ in range(3)] == [("first",)] * 3
    assert len(caplog.records) <= 1  # none where the logger of the command line took it
    assert "first" not in caplog.text
    file.unlink(missing_ok=True)
    password_file(tmp_path, "second\n")
    assert credentials.get_credentials() == ("second",)


def test_a_password_file_must_be_readable_in_the_beginning(tmp_path: Path) -> None:
    """An error of the configuration, as ever."""
    with pytest.raises(ConfigError, match="cannot be read"):
        PasswordFile(None, str(tmp_path / "none"))


def test_the_context_is_made_once_for_the_same_files(tmp_path: Path) -> None:
    """It takes milliseconds, and a new one for each connection would be felt."""
    tls = Tls(tmp_path)
    assert tls.files.get() is tls.files.get()
    assert tls.files.get().check_hostname


@pytest.mark.parametrize("name", ["ca.pem", "client.pem"])
def test_a_changed_file_makes_a_new_context(tmp_path: Path, name: str) -> None:
    """The authority, or certificate and key."""
    tls = Tls(tmp_path)
    before = tls.files.get()
    authorities = before.get_ca_certs()
    if name == "ca.pem":
        (tmp_path / "other").mkdir()
        write_authority_and_server(tmp_path / "other", host="127.0.0.1").replace(tmp_path / "ca.pem")
    else:
        tls.clients.issue(tmp_path)
    after = tls.files.get()
    assert after is not before
    assert (after.get_ca_certs() != authorities) == (name == "ca.pem")


def test_a_link_counts_by_its_target(tmp_path: Path) -> None:
    """Kubernetes swaps a link to a folder."""
    for each in ("one", "two"):
        (tmp_path / each).mkdir()
        write_authority_and_server(tmp_path / each, host="127.0.0.1")
    data = tmp_path / "data"
    data.symlink_to("one")
    files = TlsFiles(TlsConfig(ca_file=str(data / "ca.pem")), clock_s=lambda: time.time() + LATER_S)
    before = files.get()
    data.unlink()
    data.symlink_to("two")
    assert files.get() is not before


def test_a_file_that_changed_a_moment_ago_is_read_again(tmp_path: Path) -> None:
    """Two writes within one tick of the kernel's clock have the same time."""
    tls = Tls(tmp_path)
    tls.ahead_s = 0.0
    assert tls.files.get() is not tls.files.get()
    tls.ahead_s = LATER_S
    tls.files.get()
    assert tls.files.get() is tls.files.get()


@pytest.mark.parametrize("name", ["ca.pem", "client.pem", "client.key"])
@pytest.mark.parametrize("content", ["", "no certificate\n", None])
def test_files_that_cannot_be_used_leave_the_former_context(
    tmp_path: Path, name: str, content: str | None
) -> None:
    """Gone, empty, or no certificate; once all of them can be used, a new context is made."""
    tls = Tls(tmp_path)
    before = tls.files.get()
    saved = (tmp_path / name).read_bytes()
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_text(content)
    assert tls.files.get() is before
    (tmp_path / name).write_bytes(saved)
    assert tls.files.get() is not before


def test_tls_files_must_be_readable_in_the_beginning(tmp_path: Path) -> None:
    """There is no former context to fall back to."""
    with pytest.raises(FileNotFoundError):
        TlsFiles(TlsConfig(ca_file=str(tmp_path / "none"))).get()
