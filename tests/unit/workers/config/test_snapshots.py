"""Repeated reading of the configuration: only changed files are parsed, and older ones are refused."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from queueing.errors import ConfigError
from tests.support.disk.full import no_space
from tests.support.fakes.config_files import Site, p256_key, tenant_text
from workers.config.snapshots import ConfigurationFiles, ReadResult
from workers.state.adopted_config import AdoptedFiles


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path).write()


def adopt(site: Site) -> ReadResult:
    """Read and adopt the files as a starting worker does."""
    files = ConfigurationFiles(site.config)
    result = files.read()
    files.adopt(result)
    return result


def refused(site: Site) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        ConfigurationFiles(site.config).read()
    return caught.value


def rewrite(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_adopted_files_are_copied_to_the_state_directory(site: Site) -> None:
    """The copies in the state directory have the texts of the files, and only their owner can read them."""
    adopt(site)
    memory = AdoptedFiles(site.folder / "state")
    assert memory.tenant_text("acme") == site.tenant_file().read_text()
    assert memory.service_text() == site.config.read_text()
    modes = {path.stat().st_mode & 0o077 for path in (site.folder / "state").rglob("*")}
    assert modes == {0}


def test_a_lower_epoch_is_refused(site: Site) -> None:
    """A lower epoch of a tenant or of the service is an error that names the adopted epoch."""
    adopt(site)
    rewrite(site.tenant_file(), "epoch = 4", "epoch = 3")
    assert "is 3, but 4 was adopted" in refused(site).problem
    rewrite(site.tenant_file(), "epoch = 3", "epoch = 4")
    rewrite(site.config, 'audience = "test"', 'audience = "test"\nepoch = 9')
    adopt(site)
    rewrite(site.config, "epoch = 9", "epoch = 8")
    assert refused(site).key == "service.epoch"


def test_changed_content_needs_a_higher_epoch(site: Site) -> None:
    """A comment may change under the same epoch, a value may not; with the next epoch it is adopted."""
    adopt(site)
    rewrite(site.tenant_file(), "# the operator's own words", "# other words\n")
    adopt(site)
    rewrite(site.tenant_file(), "2099-01-01", "2098-01-01")
    found = refused(site)
    assert (found.key, found.remedy) == ("epoch", "Write epoch = 5: each change needs a new epoch.")
    rewrite(site.tenant_file(), "epoch = 4", "epoch = 5")
    assert adopt(site).configuration.tenants["acme"].epoch == 5


def test_a_tenant_that_was_removed_does_not_come_back_older(site: Site) -> None:
    """The epoch of a removed tenant is kept: an older file of its name is refused."""
    adopt(site)
    text = site.tenant_file().read_text()
    site.tenant_file().unlink()
    assert adopt(site).configuration.tenants == {}
    site.tenant_file().write_text(text.replace("epoch = 4", "epoch = 2"))
    assert "4 was adopted" in refused(site).problem


def test_only_what_changed_is_read_again(site: Site) -> None:
    """Unchanged tenants and the service are the same objects as before."""
    site.tenants["globex"] = tenant_text("globex", p256_key(9))
    site.write()
    files = ConfigurationFiles(site.config)
    first = files.read()
    files.adopt(first)
    rewrite(site.tenant_file("globex"), "epoch = 4", "epoch = 5")
    second = files.read()
    assert second.configuration.tenants["acme"] is first.configuration.tenants["acme"]
    assert second.configuration.service is first.configuration.service
    assert second.configuration.tenants["globex"].epoch == 5


def test_unchanged_tenants_are_checked_against_changed_tokens(site: Site) -> None:
    """A tenant that uses a removed token is an error, although its own file did not change."""
    files = ConfigurationFiles(site.config)
    files.adopt(files.read())
    text = site.config.read_text()
    start = text.index("[tokens.acme]")
    site.config.write_text(text[:start] + text[text.index("[tokens.globex]") :])
    with pytest.raises(ConfigError, match=r"no token `acme`"):
        files.read()


def test_a_copy_that_cannot_be_written_is_removed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a full disk there is no copy rather than an old one, from which lanes would read revoked rights."""
    adopt(site)
    rewrite(site.tenant_file(), "epoch = 4", "epoch = 5")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", no_space)
        adopt(site)
    assert AdoptedFiles(site.folder / "state").tenant_text("acme") is None


@pytest.mark.parametrize(
    "broken",
    ["x = " + "[" * 3000, "x = " + "1" * 5000, "a" + ".a" * 3000 + " = 1", "epoch = 1e400", "\0", "["],
)
def test_a_broken_file_is_refused_and_the_adopted_configuration_stays(site: Site, broken: str) -> None:
    """A file that the parser cannot take is an error of that file, for a worker that starts or reloads."""
    files = ConfigurationFiles(site.config)
    files.adopt(files.read())
    good = site.tenant_file().read_text()
    site.tenant_file().write_text(f"{broken}\n{good}")

    with pytest.raises(ConfigError) as caught:
        files.read()

    assert caught.value.file == str(site.tenant_file())
    assert caught.value.remedy
    assert refused(site).file == str(site.tenant_file())
    assert AdoptedFiles(site.folder / "state").tenant_text("acme") == good


def test_a_revocation_is_remembered_when_the_disk_is_well_again(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Until then it is logged once, counted, and an older file is refused after a restart nevertheless."""
    files = ConfigurationFiles(site.config)
    files.adopt(files.read())
    older = site.tenant_file().read_text()
    rewrite(site.tenant_file(), "epoch = 4", 'epoch = 5\nstate = "suspended"')

    with monkeypatch.context() as disk:
        disk.setattr(tempfile, "mkstemp", no_space)
        files.adopt(files.read())
        files.remember_again()
    newer = site.tenant_file().read_text()

    assert [record.message for record in caplog.records] == [
        "events.not_kept",
        "config.not_remembered",
    ]
    assert files.unremembered == 1
    site.tenant_file().write_text(older)
    assert "is 4, but 5 was adopted" in refused(site).problem

    site.tenant_file().write_text(newer)
    files.remember_again()

    assert files.unremembered == 0
    assert AdoptedFiles(site.folder / "state").tenant_text("acme") == newer
    site.tenant_file().write_text(older)
    assert "is 4, but 5 was adopted" in refused(site).problem
