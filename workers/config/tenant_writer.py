"""Writer of a tenant's file: the edited text is checked as a worker would, and replaces the file under a lock."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from queueing.config.toml import parse_toml, read_text
from queueing.errors import ConfigError
from queueing.files.durable_file import make_folder, replace_durably
from queueing.files.folders import is_there
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


def preview_tenant(scope: ServiceScope, tenant: str, edit: Callable[[str], str]) -> tuple[str, Tenant]:
    """Text of the tenant's file after ``edit``, and the tenant that it describes. Writes nothing.

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
    result = tenant_of(file, parse_toml(file, edited), scope.tokens)
    _ownership(scope, beside=file).claim(file, result)
    return edited, result


def edit_tenant(scope: ServiceScope, tenant: str, edit: Callable[[str], str]) -> Tenant:
    """Edit the tenant's file, durably. Raises as ``preview_tenant`` does, and then the file is unchanged.

    A new file can be read by those who can list the folder, above all by the worker, also when root makes it.
    """
    make_folder(scope.tenants_dir, mode=_NEW_FOLDER_MODE)
    with _locked(scope.tenants_dir):
        text, result = preview_tenant(scope, tenant, edit)
        mode = scope.tenants_dir.stat().st_mode & _NEW_FILE_MODES
        replace_durably(scope.tenant_file(tenant), text.encode(), mode=mode)
    return result


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
