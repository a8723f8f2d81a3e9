"""The doctor's comparison of this host's files with the published key directories."""

from __future__ import annotations

from collections.abc import Coroutine
from pathlib import Path

import pytest

from queueing.errors import QueueUnavailable
from tests.support.directories.signed_directories import STRANGER, directory, with_epoch
from workers.doctor import epochs
from workers.doctor.epochs import check_epochs, compare_epochs
from workers.doctor.findings import State


def test_an_older_file_is_named_with_both_epochs() -> None:
    """The other tenant's file is the cluster's: its directory is not newer."""
    published = {"acme": directory(5), "globex": directory(1, of="globex")}
    (finding,) = compare_epochs(with_epoch(3), published)
    assert (finding.check, finding.state) == ("config.epoch", State.FAIL)
    assert Path(finding.subject).name == "acme.toml"
    assert "epoch 3;" in finding.text
    assert "epoch 5 in force" in finding.text
    assert finding.fix


def test_no_file_is_older_than_what_only_a_stranger_has_signed() -> None:
    """Nor than a directory of its own epoch, an older one, or none."""
    for published in (
        {},
        {"acme": directory(9, signer=STRANGER)},
        {"acme": directory(3)},
        {"acme": directory(2)},
    ):
        (finding,) = compare_epochs(with_epoch(3), published)
        assert (finding.check, finding.state) == ("config.epoch", State.OK)


def test_without_redis_there_is_no_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check of Redis says that it does not answer."""

    def run(work: Coroutine[None, None, object]) -> None:
        work.close()
        raise QueueUnavailable

    monkeypatch.setattr(epochs, "run", run)
    assert check_epochs(with_epoch(1)) == []
