"""Adopted copies of the configuration, and the refusal of older files."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from queueing.errors import ConfigError
from workers.state.adopted_config import AdoptedFiles, refuse_older_service, refuse_older_tenant

FILE = Path("/etc/sigmill/file.toml")


def test_copies_are_read_back(tmp_path: Path) -> None:
    """By another process; a tenant that was never adopted has no copy."""
    AdoptedFiles(tmp_path).keep("epoch = 1\n", {"acme": "epoch = 2\n"})
    copies = AdoptedFiles(tmp_path)
    assert copies.service_text() == "epoch = 1\n"
    assert copies.tenant_text("acme") == "epoch = 2\n"
    assert copies.tenant_text("globex") is None


def test_unchanged_texts_are_not_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reload of one tenant of thousands costs two fsyncs, not thousands."""
    copies = AdoptedFiles(tmp_path)
    copies.keep("epoch = 1\n", {"acme": "epoch = 2\n"})

    def fsync(_: int) -> None:
        raise AssertionError("nothing has changed")

    monkeypatch.setattr(os, "fsync", fsync)
    copies.keep("epoch = 1\n", {"acme": "epoch = 2\n"})


def test_a_copy_that_cannot_be_written_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The log names the file; no exception stops the reload."""

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with caplog.at_level(logging.ERROR, logger="sigmill.config"):
        AdoptedFiles(tmp_path).keep("epoch = 1\n", {})
    assert [record.message for record in caplog.records] == ["config.not_remembered"]
    assert AdoptedFiles(tmp_path).service_text() is None


@pytest.mark.parametrize(
    "adopted",
    [
        None,
        "epoch = 3\n",
        "epoch = 2\n",
        "not TOML at all [",
        f"epoch = {2**64}\n",
        "epoch = " + "9" * 5000,
        "x = " + "[" * 3000,
    ],
)
def test_a_file_that_is_not_older_is_accepted(adopted: str | None) -> None:
    """Without a copy, with the same text, a lower epoch, a damaged copy, or one with an epoch that is none any more."""
    refuse_older_tenant(FILE, "epoch = 3\n", adopted)
    refuse_older_service(FILE, "[service]\nepoch = 3\n", adopted)


@pytest.mark.parametrize(
    "adopted, problem",
    [("epoch = 4\n", "is 3, but 4 was adopted before"), ("epoch = 3\nstate = 1\n", "is still 3")],
)
def test_an_older_or_different_tenant_file_is_refused(adopted: str, problem: str) -> None:
    """A lower epoch, or other content at the same epoch; the error names the key."""
    with pytest.raises(ConfigError, match=problem) as refused:
        refuse_older_tenant(FILE, "epoch = 3\n", adopted)
    assert refused.value.key == "epoch"


def test_an_older_service_file_is_refused() -> None:
    """The service's file belongs to the host: only its epoch is compared."""
    refuse_older_service(FILE, "[service]\nepoch = 4\n", "[service]\nepoch = 4\nstate_dir = 1\n")
    with pytest.raises(ConfigError, match="is 3, but 4 was adopted before"):
        refuse_older_service(FILE, "[service]\nepoch = 3\n", "[service]\nepoch = 4\n")
