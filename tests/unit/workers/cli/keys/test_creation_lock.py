"""The lock of commands that make keys: who is held off, and what remains."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from queueing.errors import CreationBusy
from tests.support.fakes.key_sites import site_with
from workers.cli.keys.creation_lock import one_creation_at_a_time
from workers.config.loading import ServiceScope, load_scope
from workers.config.loading import tenant_files as files_of
from workers.config.service_file import load_service


def second_service(scope: ServiceScope, *, folder: Path | None = None) -> ServiceScope:
    """The scope of another service's file, over the same tenants or those of another folder."""
    file = scope.file.with_name("second.toml")
    lines = scope.file.read_text().replace("[service]\n", f'[service]\ntenants_dir = "{folder}"\n', 1)
    file.write_text(scope.file.read_text() if folder is None else lines)
    return load_scope(file)


def test_two_services_with_one_tenants_folder_make_no_two_keys_at_once(tmp_path: Path) -> None:
    """Their keys would get one version and one label; the second command may be run again later."""
    scope = site_with(tmp_path, "active")
    other = second_service(scope)

    with (
        one_creation_at_a_time(scope),
        pytest.raises(CreationBusy, match="nothing was made") as caught,
        one_creation_at_a_time(other),
    ):
        pytest.fail("two commands make keys at once")

    assert caught.value.retryable


def test_a_folder_by_another_name_is_the_same_folder(tmp_path: Path) -> None:
    """A symbolic link to the folder opens no second door."""
    scope = site_with(tmp_path, "active")
    (tmp_path / "link").symlink_to(scope.tenants_dir)
    other = second_service(scope, folder=tmp_path / "link")

    with one_creation_at_a_time(scope), pytest.raises(CreationBusy), one_creation_at_a_time(other):
        pytest.fail("two commands make keys at once")


def test_services_with_tenants_of_their_own_do_not_wait_for_each_other(tmp_path: Path) -> None:
    """Each has its folder, so neither can take the other's version."""
    scope = site_with(tmp_path, "active")
    (tmp_path / "others").mkdir()
    other = second_service(scope, folder=tmp_path / "others")

    with one_creation_at_a_time(scope), one_creation_at_a_time(other):
        assert (tmp_path / "others" / ".creation.lock").exists()


def test_the_lock_ends_with_the_command(tmp_path: Path) -> None:
    """Its file stays, and holds off nobody."""
    scope = site_with(tmp_path, "active")

    for _ in range(2):
        with one_creation_at_a_time(scope):
            pass

    assert files_of(load_service(scope.file)) == [scope.tenants_dir / "acme.toml"]


def test_other_users_of_the_folder_can_open_the_lock(tmp_path: Path) -> None:
    """Root's umask does not make it root's alone, and a folder that is not the public's has no file that is."""
    scope = site_with(tmp_path, "active")
    scope.tenants_dir.chmod(0o750)
    before = os.umask(0o077)
    try:
        with one_creation_at_a_time(scope):
            pass
    finally:
        os.umask(before)

    assert stat.S_IMODE((scope.tenants_dir / ".creation.lock").stat().st_mode) == 0o640


@pytest.mark.parametrize("folder", ["missing", "a file"])
def test_without_a_folder_the_file_of_the_service_is_the_lock(tmp_path: Path, folder: str) -> None:
    """The first key of a service is made before its tenants' folder."""
    place = tmp_path / "none"
    if folder == "a file":
        place.write_text("no folder")
    scope = second_service(site_with(tmp_path, "active"), folder=place)

    with one_creation_at_a_time(scope), pytest.raises(CreationBusy), one_creation_at_a_time(scope):
        pytest.fail("two commands make keys at once")
