"""Writing a tenant's file: read, edited, checked as it will be read, and replaced in one step under a lock."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Final

from queueing.errors import ConfigError
from queueing.files.durable_file import make_folder, replace_durably
from queueing.files.folders import is_there
from workers.config.loading import claim_tokens
from workers.config.tenant_edits import EditRefused
from workers.config.tenant_file import load_tenant, tenant_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from workers.config.loading import ServiceScope
    from workers.config.tenants import Tenant

_NEW_FILE_MODE: Final = 0o640
_NEW_FOLDER_MODE: Final = 0o777
"""Less the umask, as mkdir(1) does."""


def preview_tenant(premises: ServiceScope, tenant: str, edit: Callable[[str], str]) -> tuple[str, Tenant]:
    """What the tenant's file would say after ``edit``, and the tenant it would make.

    A file that does not exist yet begins with the tenant's name. Raises ``ConfigError`` for what is wrong
    before the edit and for what would be wrong after it, tokens of other owners included.
    """
    file = premises.tenant_file(tenant)
    text = f'tenant = "{tenant}"\nepoch = 0\n'
    if is_there(file):
        text = file.read_text("utf-8")
        load_tenant(file, premises.tokens)
    try:
        edited = edit(text)
    except EditRefused as refused:
        raise ConfigError(str(file), "", f"was not edited: {refused}", "Edit it by hand.") from None
    result = tenant_of(file, tomllib.loads(edited), premises.tokens)
    claim_tokens(file, result, token_owners(premises, beside=file))
    return edited, result


def edit_tenant(premises: ServiceScope, tenant: str, edit: Callable[[str], str]) -> Tenant:
    """Edit the tenant's file for good; raises as ``preview_tenant``, and then the file is as it was."""
    make_folder(premises.tenants_dir, mode=_NEW_FOLDER_MODE)
    with _locked(premises.tenants_dir):
        text, result = preview_tenant(premises, tenant, edit)
        replace_durably(premises.tenant_file(tenant), text.encode(), mode=_NEW_FILE_MODE)
    return result


def token_owners(premises: ServiceScope, *, beside: Path | None = None) -> dict[str, str]:
    """Who owns which token by all files but ``beside``; one that is broken owns nothing until it is mended."""
    owners = {premises.service_token: "the service"} if premises.service_token is not None else {}
    for other in premises.tenant_files():
        if other != beside:
            with contextlib.suppress(ConfigError):
                claim_tokens(other, load_tenant(other, premises.tokens), owners)
    return owners


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
