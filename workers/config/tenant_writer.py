"""Writer of a tenant's file: the edited text is checked as a worker would, and replaces the file under a lock."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import fcntl
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from queueing.config.toml import LARGEST_BYTES, parse_toml, read_text
from queueing.errors import ConfigError
from queueing.files.durable_file import make_folder, remove_durably, replace_durably
from queueing.files.folders import is_there
from queueing.files.regular_file import open_regular
from workers.config.loading import Ownership
from workers.config.service_file import SERVICE
from workers.config.tenant_edits import EditRefused
from workers.config.tenant_file import load_tenant, tenant_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from workers.config.loading import ServiceScope
    from workers.config.tenants import Tenant

_NEW_FILE_MODES: Final = 0o644
"""Mode of a new file, less what its folder does not grant: users who may list the tenants may read them."""

_NEW_FOLDER_MODE: Final = 0o777
"""Less the umask, as mkdir(1) does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EditedTenant:
    """An edit of a tenant's file: its text before and after, and the tenant that the new text describes.

    ``written``: it is on the disk, and no preview.
    """

    file: Path
    before: str
    after: str
    tenant: Tenant
    written: bool = False

    def difference(self) -> str:
        """The edit as a unified diff."""
        name = str(self.file)
        before, after = self.before.splitlines(keepends=True), self.after.splitlines(keepends=True)
        return "".join(difflib.unified_diff(before, after, name, name, n=1))


def preview_tenant(scope: ServiceScope, tenant: str, edit: Callable[[str], str]) -> EditedTenant:
    """The tenant's file as it would be after ``edit``. Writes nothing.

    A new file begins with the tenant's name. Raises ``ConfigError`` where the file is invalid before or after the
    edit, or uses a token of another owner.
    """
    file = scope.tenant_file(tenant)
    text = f'tenant = "{tenant}"\nepoch = 0\n'
    if is_there(file):
        text = read_text(file)
        load_tenant(file, scope.tokens)
    try:
        edited = edit(text)
    except EditRefused as refused:
        raise ConfigError(str(file), "", f"was not edited: {refused}", "Edit it by hand.") from None
    if len(_as_stored(file, edited)) > LARGEST_BYTES:
        raise ConfigError(
            str(file),
            "",
            f"would be larger than {LARGEST_BYTES // 1024} KiB, which no worker reads; nothing was changed",
            "Remove comments, clients or versions that have ended.",
        )
    result = tenant_of(file, parse_toml(file, edited), scope.tokens)
    _ownership(scope, beside=file).claim(file, result)
    return EditedTenant(file=file, before=text, after=edited, tenant=result)


def edit_tenant(scope: ServiceScope, tenant: str, edit: Callable[[str], str]) -> EditedTenant:
    """Edit the tenant's file, durably. Raises ``ConfigError`` as ``preview_tenant`` does, or where it cannot be written.

    Then the file is unchanged. A new file can be read by those who can list the folder, above all by the worker, also
    when root makes it.
    """
    try:
        make_folder(scope.tenants_dir, mode=_NEW_FOLDER_MODE)
        with _locked(scope.tenants_dir):
            edited = preview_tenant(scope, tenant, edit)
            mode = scope.tenants_dir.stat().st_mode & _NEW_FILE_MODES
            replace_durably(edited.file, _as_stored(edited.file, edited.after), mode=mode)
    except OSError as error:
        raise ConfigError(
            str(scope.tenant_file(tenant)),
            "",
            f"cannot be written ({error.strerror})",
            "Make room, or check owner and mode of the file and its folder; nothing was changed.",
        ) from error
    return dataclasses.replace(edited, written=True)


def _as_stored(file: Path, text: str) -> bytes:
    """The text with the line ends of the file's first line: a command changes no line that its difference does not show."""
    if is_there(file):
        with open_regular(file) as stream:
            if stream.readline(LARGEST_BYTES).endswith(b"\r\n"):
                text = text.replace("\n", "\r\n")
    return text.encode()


def remove_unnamed(scope: ServiceScope, tenant: str, file: Path) -> None:
    """Remove a file beside the tenant's, unless the tenant's file names it: another command may have written it, too.

    Raises ``OSError``, or ``ConfigError`` where the tenant's file cannot be read; then it stays.
    """
    with _locked(scope.tenants_dir):
        if file.name not in read_text(scope.tenant_file(tenant)):
            remove_durably(file)


def token_owners(scope: ServiceScope) -> dict[str, str]:
    """Owners of tokens by all files; an invalid file owns nothing until it is repaired."""
    return _ownership(scope).tokens


def _ownership(scope: ServiceScope, *, beside: Path | None = None) -> Ownership:
    """Owners of tokens and keys by all files, except ``beside``."""
    owned = Ownership()
    if scope.service_token is not None:
        owned.tokens[scope.service_token] = SERVICE
    for other in scope.tenant_files():
        if other != beside:
            with contextlib.suppress(ConfigError):
                owned.claim(other, load_tenant(other, scope.tokens))
    return owned


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
