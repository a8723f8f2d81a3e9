"""Child process that inspects one token, or creates one key in it: ``python -m workers.hsm.admin_process``.

Reads one request from standard input and writes one answer to standard output. Output of the module itself goes to
standard error, so that it does not get into the answer.
"""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec
from pkcs11 import TokenFlag

from queueing.config.secrets import Secret
from queueing.errors import ConfigError, SigningError, TokenUnavailable
from queueing.protocol.public_keys import PublicKey
from workers.hsm import module
from workers.hsm.faults import HsmFailure, to_signing_error
from workers.hsm.key_creation import KeyRecord, adopt_key, create_key, list_keys
from workers.hsm.key_description import describe_key
from workers.hsm.keys import find_key
from workers.hsm.mechanisms import unable_to_sign
from workers.hsm.messages import sign_message
from workers.hsm.pin_guard import guarded_login
from workers.hsm.process_hardening import harden
from workers.hsm.sessions import open_pool
from workers.hsm.tokens import TokenSelect, properties_of, select_token, serial_of
from workers.state.token_claims import TokenTaken, claim_token
from workers.token_admin.login_records import ACCEPTED, keep_login
from workers.token_admin.messages import (
    AdoptKey,
    Answer,
    CreateKey,
    DescribeKey,
    Failed,
    FindKeys,
    Found,
    FoundKeys,
    InspectToken,
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
    from collections.abc import Iterator

    import pkcs11

    from workers.hsm.module import LoadedModule
    from workers.state.token_claims import TokenProperties

_PIN_FLAGS: Final = (
    TokenFlag.USER_PIN_COUNT_LOW,
    TokenFlag.USER_PIN_FINAL_TRY,
    TokenFlag.USER_PIN_LOCKED,
    TokenFlag.USER_PIN_TO_BE_CHANGED,
)

_WithLogin: TypeAlias = CreateKey | AdoptKey | FindKeys | DescribeKey | SignMessage

_UNAVAILABLE: Final = ctypes.c_ulong(-1).value  # PKCS#11 3.1, 3.3: CK_UNAVAILABLE_INFORMATION
_TEXT_BYTES: Final = 32 + 32 + 16 + 16  # label, manufacturerID, model, serialNumber
_VERSIONS_AND_TIME_BYTES: Final = 2 + 2 + 16


class _TokenInfo(ctypes.Structure):
    """CK_TOKEN_INFO (PKCS#11 3.1, 3.3)."""

    _fields_ = (
        ("texts", ctypes.c_ubyte * _TEXT_BYTES),
        ("flags", ctypes.c_ulong),
        ("most_sessions", ctypes.c_ulong),
        ("sessions", ctypes.c_ulong),
        ("counts", ctypes.c_ulong * 8),  # read-write sessions, PIN lengths, memory
        ("rest", ctypes.c_ubyte * _VERSIONS_AND_TIME_BYTES),
    )


def answer(request: Request) -> Answer:
    """Execute the request. Once per process: it loads the module."""
    try:
        loaded = module.load(request.token.module)
        address = request.token
        token = select_token(
            loaded, TokenSelect(slot=address.slot, label=address.label, serial=address.serial)
        )
        if isinstance(request.ask, ShowToken):
            return _token_facts(loaded, token)
        if isinstance(request.ask, InspectToken):
            return _inspect(loaded, token, address, request.ask)
        return _with_login(loaded, token, address, request.ask)
    except HsmFailure as failure:
        if failure.pin_failure:
            return Failed(code="token.unavailable", problem=str(failure), pin_refused=True)
        error = to_signing_error(failure)
        return Failed(code=error.reason, problem=str(failure))
    except SigningError as error:
        return Failed(code=error.reason, problem=error.message)
    except ConfigError as error:
        return Failed(code="config.invalid", problem=str(error))


def _with_login(loaded: LoadedModule, token: pkcs11.Token, address: TokenAddress, ask: _WithLogin) -> Answer:
    # Before the PIN is tried: it may be that of another token.
    _refuse_token_of_others(properties_of(token), address)
    pin = None if address.pin_file is None else Secret.from_file(address.pin_file)
    state_dir = Path(address.refused_pins_of)
    with _refusal_recorded(address), guarded_login(state_dir, address.name, pin):
        pool = open_pool(
            token,
            pin=pin,
            count=1,
            rw=isinstance(ask, CreateKey),
            protected_path=address.protected_path,
        )
    try:
        _record_accepted(address)
        return _ask(loaded, token, pool.sessions[0], ask)
    finally:
        pool.close()


@contextmanager
def _refusal_recorded(address: TokenAddress) -> Iterator[None]:
    """Context for a login; one that is refused is on record, as that of a lane is."""
    try:
        yield
    except HsmFailure as failure:
        if failure.pin_failure:
            with suppress(OSError, ValueError):  # it must not hide the refusal
                keep_login(address, failure.code_name)
        raise


def _record_accepted(address: TokenAddress) -> None:
    """Raise ``TokenUnavailable`` where the login cannot be recorded: then it is used for nothing."""
    try:
        keep_login(address, ACCEPTED)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise TokenUnavailable(
            f"the login cannot be recorded in {address.refused_pins_of}/events ({why}), so it was used for nothing: make room there, or"
            " run the command as the worker's user"
        ) from error


def _refuse_token_of_others(found: TokenProperties, address: TokenAddress) -> None:
    """Raise ``TokenUnavailable`` for a token that another owner's table selects, or another owner's lane uses now."""
    holder = next(
        (f"tokens.{other.table} of {other.owner}" for other in address.others if _is_also(found, other)), ""
    )
    if not holder and address.owner:
        identity = found.identity(address.module)
        try:
            claim_token(Path(address.refused_pins_of), identity, table=address.name, owner=address.owner)
        except TokenTaken as taken:
            holder = taken.holder
    if holder:
        raise TokenUnavailable(
            f"tokens.{address.name} finds the token of {holder}: select another one by its serial and label"
        )


def _is_also(found: TokenProperties, other: OtherToken) -> bool:
    """Whether the other table selects this token. By another module its slot means nothing, and a label not enough."""
    if other.visible:
        return found.matches(slot=other.slot, label=other.label, serial=other.serial)
    return other.serial is not None and found.matches(label=other.label, serial=other.serial)


def _ask(loaded: LoadedModule, token: pkcs11.Token, session: pkcs11.Session, ask: _WithLogin) -> Answer:
    match ask:
        case CreateKey():
            return _key_facts(create_key(session, ask.kind, ask.label, bytes.fromhex(ask.key_id)))
        case AdoptKey():
            key_id = None if ask.key_id is None else bytes.fromhex(ask.key_id)
            return _key_facts(adopt_key(session, label=ask.label, key_id=key_id))
        case FindKeys():
            return FoundKeys(
                found=tuple(_found(session, spki) for spki in ask.public_keys),
                present=tuple(_key_facts(record) for record in list_keys(session)),
            )
        case DescribeKey():
            return describe_key(loaded, token, session, PublicKey.from_spki(ask.public_key))
        case SignMessage():
            return Signed(signature=sign_message(session, PublicKey.from_spki(ask.public_key), ask.message))


def _inspect(
    loaded: LoadedModule, token: pkcs11.Token, address: TokenAddress, ask: InspectToken
) -> TokenReport:
    report = TokenReport(facts=_token_facts(loaded, token), unable=unable_to_sign(token.slot, ask.algorithms))
    if not ask.log_in:
        return report
    try:
        found = _with_login(loaded, token, address, FindKeys(public_keys=ask.public_keys))
    except HsmFailure as failure:
        return msgspec.structs.replace(report, problem=str(failure), pin_refused=failure.pin_failure)
    except SigningError as error:
        return msgspec.structs.replace(report, problem=error.message)
    if isinstance(found, FoundKeys):
        return msgspec.structs.replace(report, keys=found.found)
    problem, refused = (found.problem, found.pin_refused) if isinstance(found, Failed) else ("", False)
    return msgspec.structs.replace(report, problem=problem, pin_refused=refused)


def _found(session: pkcs11.Session, spki: bytes) -> Found:
    try:
        find_key(session, PublicKey.from_spki(spki))
    except SigningError as error:
        return Found(problem=error.message, code=error.reason)
    return Found()


def _key_facts(record: KeyRecord) -> KeyFacts:
    return KeyFacts(
        label=record.label,
        key_id=record.key_id,
        kind=record.kind,
        public_key=record.public_key.spki,
        attributes=dict(record.attributes),
    )


def _token_facts(loaded: LoadedModule, token: pkcs11.Token) -> TokenFacts:
    major, minor = token.firmware_version
    return TokenFacts(
        module=loaded.description,
        slot=token.slot.slot_id,
        label=token.label.rstrip(" \0"),
        serial=serial_of(token),
        manufacturer=token.manufacturer_id.rstrip(" \0"),
        model=token.model.rstrip(" \0"),
        firmware=f"{major}.{minor}",
        most_sessions=_most_sessions(loaded, token.slot.slot_id),
        threads=loaded.threads_allowed,
        pin_warnings=tuple(str(flag.name) for flag in _PIN_FLAGS if token.flags & flag),
    )


def _most_sessions(loaded: LoadedModule, slot: int) -> int | None:
    """Highest number of sessions that the token in ``slot`` allows; 0: unlimited; None: the token does not say.

    CK_TOKEN_INFO has it, python-pkcs11 does not pass it on. The sessions of other applications are not known:
    CK_TOKEN_INFO counts those of the calling process.
    """
    info = _TokenInfo()
    try:
        functions = module.function_list(loaded.path)
    except HsmFailure:
        return None
    if functions.c_get_token_info(slot, ctypes.byref(info)) != module.CKR_OK:
        return None
    return None if info.most_sessions == _UNAVAILABLE else int(info.most_sessions)


def main() -> int:
    """Answer the request that is read from standard input."""
    harden()
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    request = msgspec.json.decode(sys.stdin.buffer.read(), type=Request)
    with answers:
        answers.write(msgspec.json.encode(answer(request)))
        answers.flush()
    os._exit(0)  # not through the module's own exit handlers: some hang there


if __name__ == "__main__":
    sys.exit(main())
