"""SoftHSM tokens with keys, made once for the whole run: signing does not change them, so tests may share them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from queueing.protocol.algorithms import KeyKind
from queueing.protocol.public_keys import PublicKey
from workers.config.settings import PinLogin, TokenSettings
from workers.dev.softhsm import make_token
from workers.token_admin.client import TokenAdmin

_COPY_KEY = """
import sys
from pkcs11 import Attribute, ObjectClass
from queueing.config.secrets import Secret
from workers.hsm import module, sessions, tokens
from pathlib import Path
path, token, pin_file, label = sys.argv[1:]
found = tokens.select_token(module.load(path), tokens.TokenSelect(label=token))
pool = sessions.open_pool(found, pin=Secret.from_file(Path(pin_file)), count=1, rw=True)
template = {Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.LABEL: label}
(key,) = list(pool.sessions[0].get_objects(template))
key.copy({Attribute.LABEL: label + "-again"})
pool.close()
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token as a configuration names it, and the public halves of its keys by label."""

    settings: TokenSettings
    keys: dict[str, PublicKey]

    @property
    def pin(self) -> str:
        """Its PIN: twelve random digits."""
        login = self.settings.login
        assert isinstance(login, PinLogin)
        return Path(login.pin_file).read_text().strip()

    def duplicate(self, label: str) -> None:
        """Make a second private key of this label's: found twice from now on."""
        login, select = self.settings.login, self.settings.select
        assert isinstance(login, PinLogin)
        words = [self.settings.module, str(select.label), login.pin_file, label]
        subprocess.run(
            [sys.executable, "-c", _COPY_KEY, *words], env=self.settings.environment, check=True, timeout=60
        )


def new_token(directory: Path, name: str, kinds: Mapping[str, KeyKind]) -> Token:
    """A token of the test's own, with these keys by label. Costs about 0.4 s a key, RSA more."""
    token = Token(settings=make_token(directory / name, name, sessions=2), keys={})
    _make_keys(token, name, directory / "state", kinds)
    return token


def _make_keys(token: Token, name: str, state_dir: Path, kinds: Mapping[str, KeyKind]) -> None:
    desk = TokenAdmin(name, token.settings, state_dir)
    for label, kind in kinds.items():
        if label not in token.keys:
            token.keys[label] = PublicKey.from_spki(desk.create(kind, label).public_key)


class TokenShelf:
    """Tokens by name; a token and its keys are made when they are first asked for."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._made: dict[str, Token] = {}
        self._objects: dict[Path, bytes] = {}

    def get(self, **wanted: Mapping[str, KeyKind]) -> dict[str, Token]:
        """The tokens of these names, with at least these keys."""
        self._restore()
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda name: self._fill(name, wanted[name]), wanted))
        return {name: self._made[name] for name in wanted}

    def _fill(self, name: str, kinds: Mapping[str, KeyKind]) -> None:
        if name in self._made:
            _make_keys(self._made[name], name, self._directory / "state", kinds)
        else:
            self._made[name] = new_token(self._directory, name, kinds)
        self._keep(self._directory / name)

    def _keep(self, token: Path) -> None:
        for file in token.glob("tokens/*/token.object"):
            if content := file.read_bytes():  # a lane may be at its login
                self._objects[file] = content

    def _restore(self) -> None:
        """Write each ``token.object`` again that is empty: a lane that a test killed while it logged in leaves it so (docs/hsm.md)."""
        for file, content in self._objects.items():
            if not file.stat().st_size:
                file.write_bytes(content)
