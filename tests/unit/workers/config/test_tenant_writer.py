"""A tenant's file is replaced in one step by a valid one, or left as it was."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from queueing.errors import ConfigError
from tests.support.fakes.config_files import Site, key_of, p256_key, tenant_text
from workers.config.loading import ServiceScope, load_scope
from workers.config.tenant_edits import revoke_client
from workers.config.tenant_file import load_tenant
from workers.config.tenant_writer import edit_tenant, preview_tenant, remove_unnamed, token_owners


@pytest.fixture
def scope(tmp_path: Path) -> ServiceScope:
    """The tokens and tenants of a right configuration."""
    return load_scope(Site(tmp_path).write().config)


def test_an_edit_is_written_and_the_mode_stays(scope: ServiceScope) -> None:
    """Every user who could read the file before can read it after."""
    file = scope.tenant_file("acme")
    file.chmod(0o604)

    edit_tenant(scope, "acme", lambda text: revoke_client(text, "build-1"))

    assert load_tenant(file, scope.tokens).clients["build-1"].revoked
    assert stat.S_IMODE(file.stat().st_mode) == 0o604
    assert [p.name for p in file.parent.iterdir()] == ["acme.toml"]


def test_an_edit_that_makes_the_file_invalid_is_not_written(scope: ServiceScope) -> None:
    """The result is checked as it will be read, before anything is replaced."""
    file = scope.tenant_file("acme")

    with pytest.raises(ConfigError, match="not known"):
        edit_tenant(scope, "acme", lambda text: f"nonsense = 1\n{text}")

    assert file.read_text() == tenant_text()


def test_an_edit_tells_what_it_changed(scope: ServiceScope) -> None:
    """As a difference of the file; a preview has the same one, and is not written."""
    preview = preview_tenant(scope, "acme", lambda text: revoke_client(text, "build-1"))
    made = edit_tenant(scope, "acme", lambda text: revoke_client(text, "build-1"))

    assert preview.difference() == made.difference()
    assert '+state = "revoked"' in made.difference()
    assert (preview.written, made.written) == (False, True)


def test_a_folder_that_cannot_be_written_is_named(scope: ServiceScope) -> None:
    """As a mistake of the file, with what helps."""
    file = scope.tenant_file("acme")
    text = file.read_text()
    (file.parent / "acme.toml").unlink()
    file.symlink_to(file.parent / "gone" / "acme.toml")

    with pytest.raises(ConfigError, match=r"acme\.toml.*cannot be written") as caught:
        edit_tenant(scope, "acme", lambda _: text)
    assert caught.value.remedy


def test_an_edit_that_no_worker_could_read_is_not_written(scope: ServiceScope) -> None:
    """A file of more than 1 MiB is refused by each reader, so by the next command, too."""
    file = scope.tenant_file("acme")
    text = tenant_text() + "#" * (1024 * 1024 - len(tenant_text().encode()))
    file.write_text(text)

    with pytest.raises(ConfigError, match="larger than 1024 KiB"):
        edit_tenant(scope, "acme", lambda text: revoke_client(text, "build-1"))

    assert file.read_text() == text


def test_a_file_that_is_broken_already_is_not_edited(scope: ServiceScope) -> None:
    """First the mistake, then the edit: an edit never hides one."""
    file = scope.tenant_file("acme")
    file.write_text("tenant = 3\n")

    with pytest.raises(ConfigError):
        edit_tenant(scope, "acme", lambda text: text)

    assert file.read_text() == "tenant = 3\n"


def test_a_token_of_another_tenant_is_refused_before_writing(scope: ServiceScope) -> None:
    """The other files are looked at, too."""
    with pytest.raises(ConfigError, match="belongs to acme"):
        edit_tenant(scope, "globex", lambda _: tenant_text("globex").replace('["globex"]', '["acme"]'))

    assert not scope.tenant_file("globex").exists()


def test_the_owners_of_tokens_are_the_service_and_the_tenants(scope: ServiceScope) -> None:
    """A token that no tenant uses has no owner."""
    assert token_owners(scope) == {"service": "the service", "acme": "acme"}


@pytest.mark.parametrize(
    "folder, file", [(0o755, 0o644), (0o750, 0o640), (0o2750, 0o640), (0o700, 0o600), (0o777, 0o644)]
)
def test_a_new_file_can_be_read_by_those_who_can_list_the_folder(
    scope: ServiceScope, folder: int, file: int
) -> None:
    """The worker is one of them, and has no other right to a file that root made."""
    scope.tenants_dir.chmod(folder)
    edit_tenant(scope, "globex", lambda _: tenant_text("globex", p256_key(7)))
    assert stat.S_IMODE(scope.tenant_file("globex").stat().st_mode) == file


def test_a_symbolic_link_stays_and_the_file_behind_it_is_edited(scope: ServiceScope, tmp_path: Path) -> None:
    """A revocation reaches the checkout that the link points to: the next deployment does not undo it."""
    link = scope.tenant_file("acme")
    checkout = tmp_path / "checkout.toml"
    link.rename(checkout)
    link.symlink_to(checkout)

    edit_tenant(scope, "acme", lambda text: revoke_client(text, "build-1"))

    assert link.is_symlink()
    assert 'state = "revoked"' in checkout.read_text()


def test_a_file_with_a_byte_order_mark_is_edited(scope: ServiceScope) -> None:
    """The mark is gone afterwards, and the CRLF of another system stays."""
    file = scope.tenant_file("acme")
    file.write_bytes(b"\xef\xbb\xbf" + tenant_text().replace("\n", "\r\n").encode())

    edit_tenant(scope, "acme", lambda text: revoke_client(text, "build-1"))

    assert load_tenant(file, scope.tokens).clients["build-1"].revoked
    assert not file.read_bytes().startswith(b"\xef\xbb\xbf")
    assert file.read_bytes().count(b"\r\n") == file.read_bytes().count(b"\n")


def test_a_public_key_of_another_tenant_is_refused_before_writing(scope: ServiceScope) -> None:
    """The other files are looked at, too."""
    with pytest.raises(ConfigError, match=r"acme\.toml"):
        edit_tenant(scope, "globex", lambda _: tenant_text("globex", key_of("acme")))

    assert not scope.tenant_file("globex").exists()


def test_a_file_that_the_tenants_file_names_is_not_removed(scope: ServiceScope) -> None:
    """A command that failed removes what it wrote, but not what another one attached meanwhile."""
    folder = scope.tenants_dir
    (folder / "a.pem").touch()
    (folder / "b.pem").touch()
    edit_tenant(scope, "acme", lambda text: f"# see a.pem\n{text}")

    remove_unnamed(scope, "acme", folder / "a.pem")
    remove_unnamed(scope, "acme", folder / "b.pem")

    assert sorted(file.name for file in folder.glob("*.pem")) == ["a.pem"]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_an_edit_keeps_the_line_ends_of_the_file(scope: ServiceScope, end: str) -> None:
    """A file from an editor of Windows differs afterwards in the lines of the difference alone."""
    file = scope.tenant_file("acme")
    file.write_bytes(file.read_text().replace("\n", end).encode())
    before = file.read_bytes()

    made = edit_tenant(scope, "acme", lambda text: revoke_client(text, "build-1"))

    after = file.read_bytes()
    assert after.count(end.encode()) == after.count(b"\n")
    assert after.decode().replace("\r\n", "\n") == made.after
    assert set(before.splitlines(keepends=True)) - set(after.splitlines(keepends=True)) == {
        f"epoch = {load_tenant(file, scope.tokens).epoch - 1}{end}".encode()
    }
