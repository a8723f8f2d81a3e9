"""Files that change under a running process: only what changed is read, and never back to an older one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from queueing.errors import ConfigError
from tests.support.config_files import Site, p256_key, tenant_text
from workers.config.snapshots import ConfigurationFiles, ReadResult
from workers.state.adopted_config import AdoptedFiles


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path).write()


def adopt(site: Site) -> ReadResult:
    """As a worker does that starts now."""
    files = ConfigurationFiles(site.config)
    reading = files.read()
    files.adopt(reading)
    return reading


def refused(site: Site) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        ConfigurationFiles(site.config).read()
    return caught.value


def rewrite(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_what_was_adopted_is_remembered_with_its_text(site: Site) -> None:
    """In the state directory, for this process' lanes and for the next start; nobody else may look."""
    adopt(site)
    memory = AdoptedFiles(site.folder / "state")
    assert memory.tenant_text("acme") == site.tenant_file().read_text()
    assert memory.service_text() == site.config.read_text()
    modes = {path.stat().st_mode & 0o077 for path in (site.folder / "state").rglob("*")}
    assert modes == {0}


def test_an_epoch_never_falls(site: Site) -> None:
    """Neither the tenant's nor the service's; the message says what was adopted."""
    adopt(site)
    rewrite(site.tenant_file(), "epoch = 4", "epoch = 3")
    assert "is 3, and 4 was adopted" in refused(site).problem
    rewrite(site.tenant_file(), "epoch = 3", "epoch = 4")
    rewrite(site.config, 'audience = "test"', 'audience = "test"\nepoch = 9')
    adopt(site)
    rewrite(site.config, "epoch = 9", "epoch = 8")
    assert refused(site).key == "service.epoch"


def test_changed_content_has_a_higher_epoch(site: Site) -> None:
    """Else two hosts could obey different rules under one number; words for people are free."""
    adopt(site)
    rewrite(site.tenant_file(), "# the operator's own words", "# other words\n")
    adopt(site)
    rewrite(site.tenant_file(), "2099-01-01", "2098-01-01")
    found = refused(site)
    assert (found.key, found.remedy) == ("epoch", "Write epoch = 5: each change has its own.")
    rewrite(site.tenant_file(), "epoch = 4", "epoch = 5")
    assert adopt(site).configuration.tenants["acme"].epoch == 5


def test_a_tenant_that_was_removed_does_not_come_back_older(site: Site) -> None:
    """Its epoch is remembered beyond it."""
    adopt(site)
    text = site.tenant_file().read_text()
    site.tenant_file().unlink()
    assert adopt(site).configuration.tenants == {}
    site.tenant_file().write_text(text.replace("epoch = 4", "epoch = 2"))
    assert "4 was adopted" in refused(site).problem


def test_only_what_changed_is_read_again(site: Site) -> None:
    """The others are the very same objects."""
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


def test_a_token_that_went_away_is_missed_by_tenants_that_did_not_change(site: Site) -> None:
    """What is not parsed again is still checked against the rest."""
    files = ConfigurationFiles(site.config)
    files.adopt(files.read())
    text = site.config.read_text()
    start = text.index("[tokens.acme]")
    site.config.write_text(text[:start] + text[text.index("[tokens.globex]") :])
    with pytest.raises(ConfigError, match=r"no token `acme`"):
        files.read()


def test_a_copy_that_cannot_be_written_is_none(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """An old copy would give back what was revoked: rather none, and the lanes read the file."""
    adopt(site)
    rewrite(site.tenant_file(), "epoch = 4", "epoch = 5")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        adopt(site)
    assert AdoptedFiles(site.folder / "state").tenant_text("acme") is None
