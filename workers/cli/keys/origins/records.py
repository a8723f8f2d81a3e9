"""Record of a ceremony in its file, from before the key is made until its statement is there.

A token that goes away, a full disk or a failing command after the creation costs no statement: `sigmill keys origin create`
completes the ceremony by the record, which proves that the key was generated, when, and who was there.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from queueing.errors import ConfigError, SigningError
from queueing.files.durable_file import make_folder, remove_durably, replace_durably
from queueing.files.folders import is_there
from queueing.files.regular_file import read_regular
from workers.cli.keys.origins.service_key import sign_by_service_key
from workers.cli.shell.output import print_message
from workers.config.service_file import load_service
from workers.pki.ceremonies import LARGEST_BYTES, CeremonyInvalid, OpenCeremony, read_record
from workers.pki.cms import now_in_seconds
from workers.token_admin.client import KeyNotFit
from workers.token_admin.owned_tokens import admin_for

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from workers.cli.keys.key_request import KeyRequest
    from workers.cli.keys.origins.files import StatedKey
    from workers.config.loading import ServiceScope
    from workers.config.service_file import ServiceConfiguration
    from workers.pki.ceremonies import CeremonyOpening, CeremonyRecord

_FILE_MODE: Final = 0o644
_FOLDER_MODE: Final = 0o777  # less the umask
_WAY_OUT: Final = "Or create the key without a statement: --no-origin."


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldCeremony:
    """Ceremony of a key that is about to be made; the service key has signed its opening, which is on disk."""

    service: ServiceConfiguration
    opening: OpenCeremony
    opened: bytes
    file: Path

    def keep(self, key: StatedKey, at: datetime) -> None:
        """Keep the record of the key on disk; what fails is told, since the statement may be made all the same."""
        file = record_file(key)
        try:
            _write(file, self.opening.closed(self.opened, key.public_key, at))
        except OSError as error:
            print_message(
                f"warning: {file} cannot be written ({error.strerror}): if the statement fails now, a later one says `found`"
            )
        self.discard()

    def discard(self) -> None:
        """Remove the file of the opening: without a key it proves nothing."""
        with contextlib.suppress(OSError):
            remove_durably(self.file)


def open_ceremony(request: KeyRequest, witnesses: tuple[str, ...]) -> HeldCeremony:
    """The ceremony of this key, opened by the service key: no key is created whose statement could not be signed or stored.

    Raises ``SigningError`` or ``ConfigError``, which name the way out.
    """
    scope, service = request.scope, load_service(request.scope.file)
    key, tenant = service.service_key, request.tenant or ""
    file = opening_file(scope, tenant, request.key, request.version_number())
    _refuse_second_key(request, file, service)
    opening = OpenCeremony.begun(
        audience=service.audience,
        tenant=tenant,
        key=request.key,
        version=request.version_number(),
        token=request.token,
        witnesses=witnesses,
        at=now_in_seconds(),
    )
    why = "no key was created: the service key, which would sign the statement of its origin, is not usable"
    try:
        opened = sign_by_service_key(scope, key, opening.to_be_signed())
    except ConfigError as error:
        raise ConfigError(
            error.file, error.key, f"{error.problem}; {why}", f"{error.remedy} {_WAY_OUT}"
        ) from error
    except SigningError as error:
        raise type(error)(f"{why}: {error.message}", hint=f"{error.hint or ''} {_WAY_OUT}".strip()) from error
    try:
        _write(file, opening.record(opened))
    except OSError as error:
        raise ConfigError(
            str(file),
            "",
            f"cannot be written ({error.strerror}); no key was created: its statement would be stored there, too",
            f"Make room, or check owner and mode. {_WAY_OUT}",
        ) from error
    return HeldCeremony(service=service, opening=opening, opened=opened, file=file)


def opening_file(scope: ServiceScope, tenant: str, key: str, version: int) -> Path:
    """File of the opening of a ceremony, until the key is there."""
    return scope.tenants_dir / f"{tenant}.{key}.v{version}.ceremony"


def interrupted(key: StatedKey, service: ServiceConfiguration, token: str) -> CeremonyOpening | None:
    """Opening of a ceremony that was cut off before it had the token's answer, if it names this key by its CKA_ID; else None.

    One login, where there is an opening. An opening of another key is told. Raises ``SigningError``, ``ConfigError``.
    """
    file = opening_file(key.scope, key.tenant, key.key, key.version)
    opening = _left_opening(file, service)
    if opening is None:
        return None
    said = (opening.audience, opening.tenant, opening.key, opening.version)
    shown = admin_for(key.scope, token, owner=key.tenant).describe(key.public_key.spki)
    if said != (service.audience, key.tenant, key.key, key.version) or shown.key_id != opening.key_id.hex():
        print_message(f"warning: {file}: it names another key; the statement says that the key was found")
        return None
    return opening


def _left_opening(file: Path, service: ServiceConfiguration) -> CeremonyOpening | None:
    """Opening that a killed command has left, with the CKA_ID of its key; None where none is proven."""
    if not is_there(file):
        return None
    try:
        opening = read_record(read_regular(file, largest_bytes=LARGEST_BYTES)).opened_by(
            service.service_key.public_key
        )
    except (OSError, CeremonyInvalid):
        return None
    return opening if opening.key_id else None


def _refuse_second_key(request: KeyRequest, file: Path, service: ServiceConfiguration) -> None:
    """Raise ``KeyNotFit`` where an interrupted ceremony of this version has made its key: a new opening would replace its proof."""
    opening = _left_opening(file, service)
    if opening is None or opening.token not in request.scope.tokens:
        return
    present = admin_for(request.scope, opening.token, owner=opening.tenant).find(()).present
    made = next((each for each in present if each.key_id == opening.key_id.hex()), None)
    if made is not None:
        words = f"--tenant {opening.tenant} --key {opening.key}"
        raise KeyNotFit(
            f"no key was created: a ceremony of {opening.key}/{opening.version} was interrupted, and its key is in token"
            f" {opening.token} as {made.label!r}, CKA_ID {made.key_id}",
            hint=f"`sigmill keys adopt {words} --token {opening.token} --label {made.label} --write` takes it over, then `sigmill keys"
            f" origin create {words}` completes the ceremony.",
        )


def record_file(key: StatedKey) -> Path:
    """File of the record, beside the tenant's file, with the public key in its name."""
    return key.scope.tenants_dir / f"{key.stem}.ceremony"


def unfinished(key: StatedKey, service: ServiceConfiguration) -> tuple[CeremonyOpening, datetime] | None:
    """Opening of the key's ceremony and the time of its generation, if a record proves both; else None.

    A record that proves nothing is told, and stays. Raises ``ConfigError`` for one that cannot be read.
    """
    file = record_file(key)
    if not is_there(file):
        return None
    try:
        raw = read_regular(file, largest_bytes=LARGEST_BYTES)
        opening, made = read_record(raw).proven(service.service_key.public_key)
    except OSError as error:
        raise ConfigError(
            str(file), "", f"cannot be read ({error.strerror})", "Check owner and mode."
        ) from error
    except CeremonyInvalid as error:
        print_message(f"warning: {file}: {error}; the statement says that the key was found")
        return None
    said = (opening.audience, opening.tenant, opening.key, opening.version, made.public_key_sha256)
    if said != (service.audience, key.tenant, key.key, key.version, key.public_key.sha256.hex()):
        print_message(f"warning: {file}: it is of another key; the statement says that the key was found")
        return None
    return opening, made.at


def finish(key: StatedKey) -> None:
    """Remove the record, or the opening: the statement says all of it."""
    for file in (record_file(key), opening_file(key.scope, key.tenant, key.key, key.version)):
        with contextlib.suppress(OSError):
            remove_durably(file)


def _write(file: Path, record: CeremonyRecord) -> None:
    make_folder(file.parent, mode=_FOLDER_MODE)
    replace_durably(file, record.encode(), mode=file.parent.stat().st_mode & _FILE_MODE)
