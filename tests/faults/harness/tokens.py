"""Tokens for many runs: made once, copied for each, because a fault may destroy a SoftHSM token.

SoftHSM rewrites ``token.object`` at each login: a process that is killed in that moment leaves it empty. That is
SoftHSM's own weakness, not a network HSM's, so the ``Keeper`` puts the file back.
"""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from queueing.protocol.algorithms import KeyKind
from queueing.protocol.public_keys import PublicKey
from tests.support.hsm.tokens import Token, TokenShelf, new_token
from workers.config.settings import PinLogin, SelectSettings, TokenSettings
from workers.dev.tenants import SERVICE_KEY_KIND, SERVICE_KEY_LABEL

TENANTS: dict[str, KeyKind] = {
    "acme": KeyKind.P256,
    "globex": KeyKind.ED25519,
    "initech": KeyKind.RSA_3072,
}

BY_PYTHON = min(TENANTS)
"""Tenant whose lanes sign by python-pkcs11, which asks for the length of a signature; the others' have the native loop."""
STORE = Path("build/faults/tokens-1")


class _Kept(msgspec.Struct, frozen=True):
    module: str
    sessions: int
    keys: dict[str, bytes]


def _make(folder: Path) -> None:
    wanted = {name: {f"{name}.release.v1": kind} for name, kind in TENANTS.items()}
    wanted["service"] = {SERVICE_KEY_LABEL: SERVICE_KEY_KIND}
    for name, kinds in wanted.items():
        token = new_token(folder, name, kinds)
        keys = {label: key.spki for label, key in token.keys.items()}
        kept = _Kept(token.settings.module, token.settings.sessions, keys)
        (folder / name / "kept.json").write_bytes(msgspec.json.encode(kept))


def _originals() -> Path:
    """The folder of the tokens that are copied; made by whoever comes first."""
    STORE.parent.mkdir(parents=True, exist_ok=True)
    with STORE.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not STORE.exists():
            scratch = STORE.with_suffix(".new").resolve()
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir()
            _make(scratch)
            scratch.rename(STORE)
    return STORE


class CopiedTokens(TokenShelf):
    """The tokens of one run, in its own folder."""

    def get(self, **wanted: Mapping[str, KeyKind]) -> dict[str, Token]:
        return {name: _copy(_originals() / name, self._directory / name) for name in wanted}


@dataclass(frozen=True, slots=True)
class TokenCopy:
    """Copy of a token with its label and its serial number; ``folder`` is SoftHSM's directory."""

    settings: TokenSettings
    folder: Path

    def states(self) -> dict[Path, tuple[int, bytes]]:
        """Time and content of each file that a login changes."""
        files = self.folder.glob("*/token.object")
        return {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in files}


def copy_of(token: Token, original: Path, name: str) -> TokenCopy:
    """Copy the token in the folder ``original``, as a backup would, into a folder ``name`` beside it."""
    folder = original.with_name(name)
    shutil.rmtree(folder, ignore_errors=True)
    copied = _copy(original, folder).settings
    return TokenCopy(msgspec.structs.replace(copied, select=token.settings.select), folder / "tokens")


def _copy(original: Path, folder: Path) -> Token:
    shutil.copytree(original, folder)
    folder = folder.resolve()
    store, config = folder / "tokens", folder / "softhsm2.conf"
    lines = config.read_text().splitlines()
    config.write_text("\n".join([f"directories.tokendir = {store}", *lines[1:]]) + "\n")
    kept = msgspec.json.decode((folder / "kept.json").read_bytes(), type=_Kept)
    settings = TokenSettings(
        module=kept.module,
        select=SelectSettings(label=folder.name),
        login=PinLogin(pin_file=str(folder / "pin")),
        environment={"SOFTHSM2_CONF": str(config)},
        sessions=kept.sessions,
    )
    keys = {label: PublicKey.from_spki(spki) for label, spki in kept.keys.items()}
    return Token(settings=settings, keys=keys)


class Keeper:
    """Puts back token files that a killed login left empty."""

    def __init__(self, folder: Path) -> None:
        self._whole = {file: file.read_bytes() for file in folder.glob("*/tokens/*/token.object")}
        self.mended = 0

    def mend(self) -> None:
        """Look at every token that is where it belongs."""
        for file, whole in self._whole.items():
            if file.parent.exists() and (not file.exists() or file.stat().st_size != len(whole)):
                file.write_bytes(whole)
                self.mended += 1
