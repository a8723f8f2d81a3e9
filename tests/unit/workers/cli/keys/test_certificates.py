"""A chain that a key version has already is attached once: the second time nothing is written."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.support.fakes.certificates import DAY, Kind, issue, pem, private_key
from tests.support.fakes.key_sites import events_of, files_of_tenants, site_with
from workers.cli.keys.certificates import attach_certificate
from workers.cli.shell.output import Output
from workers.config.loading import ServiceScope

ROOT = Kind(name="root", key=private_key(7), authority=True)


@pytest.fixture
def scope(tmp_path: Path) -> ServiceScope:
    return site_with(tmp_path, "active")


@pytest.fixture
def chain_file(tmp_path: Path) -> Path:
    """Chain of the version's own key."""
    today = datetime.now(UTC)
    kind = Kind(key=private_key(1), starts=today - DAY, ends=today + 30 * DAY)
    file = tmp_path / "chain.pem"
    file.write_bytes(pem(issue(kind, by=ROOT), issue(ROOT, by=ROOT)))
    return file


def run(scope: ServiceScope, file: Path, *more: str, as_json: bool = False) -> Any:
    words = ["--config", str(scope.file), "--tenant", "acme", "--key", "release", *more, str(file)]
    done = CliRunner().invoke(attach_certificate, words, obj=Output(as_json=as_json))
    assert done.exception is None, done.exception
    return json.loads(done.output) if as_json else done.output


def state_of(scope: ServiceScope) -> tuple[dict[str, bytes], int]:
    """Files of the tenants with their content, and the number of events."""
    return {file.name: file.read_bytes() for file in files_of_tenants(scope.tenants_dir)}, len(
        events_of(scope)
    )


@pytest.mark.parametrize("more", [(), ("--name", "other")], ids=["first authority", "further authority"])
@pytest.mark.parametrize("again", [(), ("--dry-run",)], ids=["written", "dry run"])
def test_the_same_chain_again_is_told_and_changes_nothing(
    scope: ServiceScope, chain_file: Path, more: tuple[str, ...], again: tuple[str, ...]
) -> None:
    """No higher epoch, which would have every host load the file and publish a directory; and no event of a change."""
    assert "attached in" in run(scope, chain_file, *more)
    before = state_of(scope)
    assert "is attached already: nothing was written" in run(scope, chain_file, *more, *again)
    line = run(scope, chain_file, *more, *again, as_json=True)
    assert (line["written"], line["difference"]) == (None, "")
    assert state_of(scope) == before


def test_a_chain_is_attached_again_under_another_name(scope: ServiceScope, chain_file: Path) -> None:
    """The other name has none yet."""
    run(scope, chain_file)
    assert "attached in" in run(scope, chain_file, "--name", "other")
    assert [event.changed for event in events_of(scope)] == [("certificates",), ("chains.other",)]
