"""Description of a key for its origin statement: what token and module show of it, read back from the key itself."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pkcs11 import Attribute, Mechanism

from queueing.files.regular_file import read_whole
from workers.hsm.faults import translated
from workers.hsm.keys import find_private_key, read_optional_attributes, require_attributes
from workers.hsm.tokens import serial_of
from workers.token_admin.messages import KeyDescription

if TYPE_CHECKING:
    import pkcs11

    from queueing.protocol.public_keys import PublicKey
    from workers.hsm.module import LoadedModule

_ALSO: Final = (
    Attribute.PRIVATE,
    Attribute.MODIFIABLE,
    Attribute.COPYABLE,
    Attribute.DESTROYABLE,
    Attribute.WRAP_WITH_TRUSTED,
    Attribute.DECRYPT,
    Attribute.UNWRAP,
    Attribute.DERIVE,
)
"""Attributes beside the required ones that an auditor asks for."""


def describe_key(
    loaded: LoadedModule, token: pkcs11.Token, session: pkcs11.Session, public_key: PublicKey
) -> KeyDescription:
    """Description of the private key of ``public_key``. Raises ``KeyMissing``, ``KeyRefused``, ``HsmFailure``."""
    key = find_private_key(session, public_key)
    attributes = require_attributes(key)
    with translated():
        shown = read_optional_attributes(key, *_ALSO, Attribute.KEY_GEN_MECHANISM, Attribute.ID)
    mechanism, key_id = shown.pop(Attribute.KEY_GEN_MECHANISM, None), shown.pop(Attribute.ID, None)
    return KeyDescription(
        label=token.label.rstrip(" \0"),
        serial=serial_of(token),
        manufacturer=token.manufacturer_id.rstrip(" \0"),
        model=token.model.rstrip(" \0"),
        hardware=_version(token.hardware_version),
        firmware=_version(token.firmware_version),
        module_path=os.path.realpath(loaded.path),
        module_description=loaded.description,
        module_library=_version(loaded.lib.library_version),
        module_cryptoki=_version(loaded.lib.cryptoki_version),
        module_sha256=hashlib.sha256(read_whole(Path(loaded.path))).hexdigest(),
        attributes={**attributes, **{f"CKA_{name.name}": bool(value) for name, value in shown.items()}},
        mechanism=_mechanism(mechanism),
        key_id=bytes(key_id or b"").hex(),
    )


def _version(version: tuple[int, int]) -> str:
    major, minor = version
    return f"{major}.{minor}"


def _mechanism(value: Any) -> str | None:
    """Name of CKA_KEY_GEN_MECHANISM; its number where python-pkcs11 has no name for it."""
    if value is None:
        return None
    try:
        return f"CKM_{Mechanism(value).name}"
    except ValueError:
        return f"{int(value):#x}"
