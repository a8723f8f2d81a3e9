"""TLS of the front: a renewed certificate is used without a restart, and one that does not fit changes nothing."""

from __future__ import annotations

import logging
import shutil
from typing import TYPE_CHECKING

import pytest

from queueing.errors import ConfigError
from tests.support.issuer.provider import TokenProvider
from tests.support.issuer.site import TOKEN_AUDIENCE, IssuerSite
from workers.dev.trial_tls import write_authority_and_server
from workers.issuer.front_tls import FrontTls

if TYPE_CHECKING:
    from pathlib import Path

CI = TokenProvider("https://token.example", TOKEN_AUDIENCE)


@pytest.fixture
def site(tmp_path: Path) -> IssuerSite:
    made = IssuerSite(tmp_path, CI)
    made.write()
    write_authority_and_server(tmp_path, host="127.0.0.1")
    return made


@pytest.fixture
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("others")
    write_authority_and_server(folder, host="127.0.0.1")
    return folder


def events(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records]


def test_a_renewed_certificate_is_adopted(
    site: IssuerSite, others: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Once; files that have not changed are not read."""
    caplog.set_level(logging.INFO, "sigmill.issuer")
    tls = FrontTls(site.configuration())
    tls.reload_if_changed()
    assert events(caplog) == []
    for name in ("server.pem", "server.key"):
        shutil.copyfile(others / name, site.folder / name)
    tls.reload_if_changed()
    tls.reload_if_changed()
    assert events(caplog) == ["issuer.certificate_adopted"]


def test_a_certificate_of_another_key_is_refused(
    site: IssuerSite, others: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The former one stays, and the log says why."""
    tls = FrontTls(site.configuration())
    shutil.copyfile(others / "server.pem", site.folder / "server.pem")
    tls.reload_if_changed()
    assert events(caplog) == ["issuer.certificate_refused"]


@pytest.mark.parametrize("http", ["", 'client_ca = "nowhere.pem"'])
def test_files_that_cannot_be_used_stop_the_start(site: IssuerSite, http: str) -> None:
    """With the place in the file."""
    site.write(http=http)
    if not http:
        (site.folder / "server.key").write_text("no key")
    with pytest.raises(ConfigError, match="a file for TLS cannot be used"):
        FrontTls(site.configuration())
