"""Client of the token administration: starts a child for each request, with the token's own environment."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from queueing.errors import BY_REASON, ConfigError, KeyDisabled, SigningError, TokenUnavailable
from workers.config.settings import PinLogin
from workers.patience import telling
from workers.token_admin.messages import (
    AdoptKey,
    Answer,
    CreateKey,
    DescribeKey,
    Failed,
    FindKeys,
    FoundKeys,
    InspectToken,
    KeyDescription,
    KeyFacts,
    OtherToken,
    Request,
    ShowToken,
    Signed,
    SignMessage,
    TokenAddress,
    TokenFacts,
    TokenReport,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from queueing.protocol.algorithms import Algorithm, KeyKind
    from workers.config.settings import TokenSettings
    from workers.token_admin.messages import RecordedLogin

_PASSED_ON: Final = ("LANG", "LC_ALL", "TZ", "PATH")
"""Variables that the child inherits, as a lane does; the token's own variables are added."""

_GRACE_S: Final = 120.0
"""An RSA-4096 key may take a network HSM a minute; no other call takes longer."""

_decoder: Final[msgspec.json.Decoder[Answer]] = msgspec.json.Decoder(Answer)
AnswerT = TypeVar("AnswerT", TokenFacts, KeyFacts, FoundKeys, KeyDescription, Signed, TokenReport)


class KeyNotFit(KeyDisabled):
    """The token has no such key, or one that may not sign."""

    hint = (
        "Create one with a new label by `sigmill keys create`, or adopt one that was created in the token by"
        " `sigmill keys adopt`; keys cannot be imported."
    )


def tokens_of_others(
    tokens: Mapping[str, TokenSettings], owners: Mapping[str, str], *, name: str, owner: str
) -> tuple[OtherToken, ...]:
    """The tables whose owner is another one than ``owner``, as the table ``name`` sees them. ``owners`` by table."""
    mine = tokens[name]
    return tuple(
        OtherToken(
            table=table,
            owner=owners[table],
            slot=settings.select.slot,
            label=settings.select.label,
            serial=settings.select.serial,
            visible=(os.path.realpath(settings.module), settings.environment)
            == (os.path.realpath(mine.module), mine.environment),
        )
        for table, settings in tokens.items()
        if table != name and owners.get(table, owner) != owner
    )


class TokenAdmin:
    """Requests to one token of the configuration. Each call takes one process and one login."""

    def __init__(
        self,
        name: str,
        settings: TokenSettings,
        state_dir: Path,
        *,
        owner: str = "",
        others: tuple[OtherToken, ...] = (),
        login: RecordedLogin | None = None,
    ) -> None:
        """Take the table ``name`` of the token; ``login`` and the others are as in ``TokenAddress``."""
        self._environment = settings.environment
        self.name = name
        self._address = TokenAddress(
            name=name,
            module=settings.module,
            slot=settings.select.slot,
            label=settings.select.label,
            serial=settings.select.serial,
            pin_file=settings.login.pin_file if isinstance(settings.login, PinLogin) else None,
            protected_path=settings.login == "protected-path",
            refused_pins_of=str(state_dir),
            owner=owner,
            others=others,
            login=login,
        )

    def show(self) -> TokenFacts:
        """Read the token's description, without a login. Raises ``SigningError`` or ``ConfigError``."""
        return self._ask(ShowToken(), TokenFacts)

    def create(self, kind: KeyKind, label: str, *, key_id: bytes = b"") -> KeyFacts:
        """Create a key inside the token, with this CKA_ID (random where empty); raises ``KeyNotFit`` (label taken), ``SigningError``, ``ConfigError``."""
        return self._ask(CreateKey(kind=kind, label=label, key_id=key_id.hex()), KeyFacts)

    def adopt(self, *, label: str | None, key_id: str | None) -> KeyFacts:
        """Adopt the one key of this label or CKA_ID (hex), after all checks; raises as ``create``."""
        return self._ask(AdoptKey(label=label, key_id=key_id), KeyFacts)

    def find(self, public_keys: Sequence[bytes]) -> FoundKeys:
        """Look for these keys (SPKI) and check whether they may sign; list all keys of the token. Raises as ``show``."""
        return self._ask(FindKeys(public_keys=tuple(public_keys)), FoundKeys)

    def describe(self, public_key: bytes) -> KeyDescription:
        """All that token and module show of this key (SPKI); raises as ``sign_message`` does."""
        return self._ask(DescribeKey(public_key=public_key), KeyDescription)

    def sign_message(self, public_key: bytes, message: bytes) -> bytes:
        """Signature of this key (SPKI) over a request or a statement; raises as ``create``, and where the key is not there."""
        return self._ask(SignMessage(public_key=public_key, message=message), Signed).signature

    def examine(
        self, public_keys: Sequence[bytes], algorithms: Sequence[Algorithm], *, log_in: bool
    ) -> TokenReport:
        """Read description, mechanisms and keys, with at most one login; a failed login is an answer. Raises as ``show``."""
        ask = InspectToken(public_keys=tuple(public_keys), algorithms=tuple(algorithms), log_in=log_in)
        return self._ask(ask, TokenReport)

    def _ask(self, ask: Any, expected: type[AnswerT]) -> AnswerT:
        answer = self._run(Request(token=self._address, ask=ask))
        if isinstance(answer, Failed):
            raise self._error(answer)
        if not isinstance(answer, expected):
            raise TokenUnavailable(f"token `{self.name}`: the child answered with another kind of message")
        return answer

    def _run(self, request: Request) -> Answer:
        with telling(
            f"the module of token `{self.name}`, {self._address.module}, for {_GRACE_S:.0f} s at most"
        ):
            return self._run_child(request)

    def _run_child(self, request: Request) -> Answer:
        inherited = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        try:
            done = subprocess.run(
                [sys.executable, "-I", "-m", "workers.hsm.admin_process"],
                input=msgspec.json.encode(request),
                env={**inherited, **self._environment},
                capture_output=True,
                check=False,
                timeout=_GRACE_S,
            )
        except subprocess.TimeoutExpired:
            raise TokenUnavailable(
                f"token `{self.name}`: the module did not answer within {_GRACE_S:.0f} s"
            ) from None
        if not done.stdout:
            output = done.stderr.decode(errors="replace").strip().splitlines()
            raise TokenUnavailable(
                f"token `{self.name}`: the process that loaded the module exited with {done.returncode}"
                + (f": {output[-1]}" if output else "")
            )
        return _decoder.decode(done.stdout)

    def _error(self, failed: Failed) -> SigningError | ConfigError:
        if failed.code == "config.invalid":
            return ConfigError(
                self._address.pin_file or "", "", failed.problem, "Check the PIN file's path, owner and mode."
            )
        problem = f"token `{self.name}`: {failed.problem}"
        if failed.pin_refused:
            problem += "; it is not tried again by any lane of this host until `sigmill tokens resume`"
        if failed.code == KeyDisabled.reason:
            return KeyNotFit(problem)
        return BY_REASON.get(failed.code, TokenUnavailable)(problem)
