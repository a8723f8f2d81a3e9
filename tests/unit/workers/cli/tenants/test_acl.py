"""`sigmill tenants acl`: the line of a Redis user."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.support.fakes.config_files import Site
from workers.cli.shell.output import Output
from workers.cli.tenants.acl import acl


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path).write()


def line_of(site: Site, *words: str) -> list[str]:
    """The words of the line that the command prints."""
    done = CliRunner().invoke(
        acl, ["--config", str(site.config), *words], obj=Output(), standalone_mode=False
    )
    assert done.exception is None, done.output
    return done.stdout.split()


@pytest.mark.parametrize("whose", [("--tenant", "acme"), ("--worker",)])
def test_the_password_is_what_its_file_says(site: Site, whose: tuple[str, ...]) -> None:
    """By its SHA-256: not that of the mask by which a secret is shown."""
    file = site.folder / "password"
    file.write_text("s3cret\n")
    file.chmod(0o600)
    line = line_of(site, *whose, "--password-file", str(file))
    assert f"#{hashlib.sha256(b's3cret').hexdigest()}" in line


def test_a_new_password_is_written_to_its_file(site: Site) -> None:
    """A long one, for its owner only."""
    file = site.folder / "password"
    line = line_of(site, "--tenant", "acme", "--password-file", str(file))
    written = file.read_text().strip()
    assert f"#{hashlib.sha256(written.encode()).hexdigest()}" in line
    assert (len(written), file.stat().st_mode & 0o777) == (32, 0o600)


def test_without_a_password_no_login_is_possible(site: Site) -> None:
    """The line has no hash and no `nopass`."""
    line = line_of(site, "--tenant", "acme")
    assert line[:2] == ["user", "tenant-acme"]
    assert not [word for word in line if word.startswith("#") or word == "nopass"]
