"""The doctor on an issuer's host: keys that are old or missing, a certificate that ends, a lane that is not there."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.support.issuer.provider import TokenProvider
from tests.support.issuer.site import TOKEN_AUDIENCE, IssuerSite
from workers.dev.trial_tls import write_authority_and_server
from workers.doctor.findings import State
from workers.doctor.run import findings_of

if TYPE_CHECKING:
    from pathlib import Path

CI = TokenProvider("https://token.example", TOKEN_AUDIENCE)


@pytest.fixture
def site(tmp_path: Path) -> IssuerSite:
    made = IssuerSite(tmp_path, CI)
    made.write(issuer='socket = "lane.sock"')
    made.write_tenant()
    made.write_keys()
    (tmp_path / "lane.sock").touch()
    write_authority_and_server(tmp_path, host="127.0.0.1")
    return made


def states(site: IssuerSite) -> dict[str, State]:
    return {finding.check: finding.state for finding in findings_of(site.file)}


def test_an_issuer_that_is_well_has_no_findings(site: IssuerSite) -> None:
    """Files, keys, certificate and lane."""
    assert states(site) == dict.fromkeys(("config", "issuer.keys", "issuer.tls", "issuer.lane"), State.OK)


@pytest.mark.parametrize("age_s, state", [(60, State.OK), (7200, State.WARNING), (8 * 86400, State.FAIL)])
def test_old_keys_are_told(site: IssuerSite, age_s: float, state: State) -> None:
    """After an hour a warning, and a failure when they are no longer used."""
    site.write_keys(fetched_s=time.time() - age_s)
    assert states(site)["issuer.keys"] is state


def test_missing_keys_are_a_failure_with_its_fix(site: IssuerSite) -> None:
    """No token of the provider gets a grant."""
    (site.folder / "keys" / "github.json").unlink()
    (found,) = [f for f in findings_of(site.file) if f.check == "issuer.keys"]
    assert (found.state, found.fix) == (State.FAIL, "sigmill issuer refresh")


def test_a_lane_of_the_fronts_user_is_a_warning(site: IssuerSite) -> None:
    """The front could read the PIN."""
    site.write()
    assert states(site)["issuer.lane"] is State.WARNING


def test_a_lane_that_is_not_there_is_a_failure(site: IssuerSite) -> None:
    """Its socket is missing."""
    (site.folder / "lane.sock").unlink()
    assert states(site)["issuer.lane"] is State.FAIL


def test_an_open_private_key_is_a_failure(site: IssuerSite) -> None:
    """Group and others must not read it."""
    (site.folder / "server.key").chmod(0o644)
    assert states(site)["issuer.tls"] is State.FAIL


def test_mistakes_of_the_file_are_told(site: IssuerSite) -> None:
    """With their place, as by `check`."""
    site.file.write_text(site.file.read_text().replace('name = "ci"', 'name = "CI"'))
    (found,) = list(findings_of(site.file))
    assert found.state is State.FAIL
    assert found.subject.endswith("issuer.name")
