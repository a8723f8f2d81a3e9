"""Adopted copies of the configuration, and the refusal of older files."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from queueing.errors import ConfigError
from tests.support.disk.full import no_space
from tests.support.disk.irregular import PUT
from workers.state import adopted_config
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


@pytest.fixture
def disk_without_inodes(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No file can be made; names can be. ``undo`` ends it."""

    monkeypatch.setattr(tempfile, "mkstemp", no_space)
    return monkeypatch


def revoked(epoch: int) -> str:
    return f'epoch = {epoch}\nstate = "suspended"\n'


def test_a_copy_that_cannot_be_written_is_returned_with_its_error(
    tmp_path: Path, disk_without_inodes: pytest.MonkeyPatch
) -> None:
    """No exception stops the reload: a revocation counts, whether or not it can be remembered."""
    failed = AdoptedFiles(tmp_path).keep("epoch = 1\n", {})
    assert [(file.name, error.errno) for file, error in failed.items()] == [("service.toml", 28)]
    assert AdoptedFiles(tmp_path).service_text() is None


def test_the_epoch_of_a_copy_that_cannot_be_written_is_remembered(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """After a restart an older file is refused; the lanes have no older copy to start from; a new tenant, too."""
    AdoptedFiles(tmp_path).keep("[service]\nepoch = 1\n", {"acme.v2": "epoch = 4\n"})
    request.getfixturevalue("disk_without_inodes")
    for epoch in (5, 6):
        texts = {"acme.v2": revoked(epoch), "globex": f"epoch = {epoch}\n"}
        assert len(AdoptedFiles(tmp_path).keep("[service]\nepoch = 2\n", texts)) == 3

    memory = AdoptedFiles(tmp_path)

    assert memory.tenant_text("acme.v2") is None
    assert memory.newest_service_epoch() == 2
    assert [memory.newest_tenant_epoch(name) for name in ("acme.v2", "globex", "initech")] == [6, 6, 0]
    with pytest.raises(ConfigError, match="is 5, but 6 was adopted before"):
        refuse_older_tenant(FILE, "epoch = 5\n", None, newest=memory.newest_tenant_epoch("acme.v2"))
    refuse_older_tenant(FILE, revoked(6), None, newest=memory.newest_tenant_epoch("acme.v2"))
    with pytest.raises(ConfigError, match="is 1, but 2 was adopted before"):
        refuse_older_service(FILE, "[service]\nepoch = 1\n", None, newest=memory.newest_service_epoch())


def test_a_copy_that_is_written_again_replaces_its_mark(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Then the copy refuses what is older, and the lanes start from it."""
    AdoptedFiles(tmp_path).keep("epoch = 1\n", {"acme": "epoch = 4\n", "globex": "epoch = 1\n"})
    disk = request.getfixturevalue("disk_without_inodes")
    AdoptedFiles(tmp_path).keep("epoch = 1\n", {"acme": revoked(5), "globex": "epoch = 2\n"})
    disk.undo()
    memory = AdoptedFiles(tmp_path)
    assert memory.keep("epoch = 1\n", {"acme": revoked(5)}) == {}
    assert memory.tenant_text("acme") == revoked(5)
    assert (memory.newest_tenant_epoch("acme"), memory.newest_tenant_epoch("globex")) == (0, 2)


def test_a_copy_that_the_disk_does_not_return_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not taken for a missing one: then a file of any epoch would be adopted."""

    def broken(*_: object, **__: object) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(adopted_config, "read_regular", broken)
    with pytest.raises(ConfigError, match="cannot be read"):
        AdoptedFiles(tmp_path).tenant_text("acme")


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


@pytest.mark.timeout(10)
@pytest.mark.parametrize("put", PUT.values(), ids=PUT.keys())
def test_a_copy_that_is_no_copy_is_named_and_replaced_at_the_next_adoption(
    tmp_path: Path, put: Callable[[Path], None]
) -> None:
    """A worker that starts says so and does not wait; what was adopted before is unknown, so no older file is taken."""
    copies = AdoptedFiles(tmp_path)
    copies.keep("epoch = 1\n", {"acme": "epoch = 2\n"})
    copy = tmp_path / "adopted" / "tenants" / "acme.toml"
    copy.unlink()
    put(copy)
    with pytest.raises(
        ConfigError, match=r"cannot be read \((not a regular|Is a dir|larger than)"
    ) as refused:
        copies.tenant_text("acme")
    assert refused.value.file == str(copy)
    copies.keep("epoch = 1\n", {"acme": "epoch = 2\n"})
    copies.keep("epoch = 1\n", {"acme": "epoch = 2\n"})
    assert copies.tenant_text("acme") == "epoch = 2\n"
