"""One tool's connection: its PKCS#11 calls, answered one message at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from queueing.agent import token_info
from queueing.agent.cryptoki import Rv
from queueing.agent.failures import return_value
from queueing.agent.rpc.attributes import read_template, read_wanted, write_values
from queueing.agent.rpc.calls import HANDSHAKE, Call, answer_to, error_answer, read_request
from queueing.agent.rpc.fields import NO_BYTES, CallFailed, FieldReader, FieldWriter
from queueing.agent.session import Sessions, SigningOperation
from queueing.agent.signing_input import read_mechanism
from queueing.agent.token import Token
from queueing.client.signatures import Signature
from queueing.errors import SigningError
from queueing.protocol.algorithms import KEY_KINDS, Algorithm

_RW_SESSION: Final = 0x2
"""CKF_RW_SESSION."""

_ULONG_BYTES: Final = 8
_MOST_FOUND: Final = 4096
"""Handles of one C_FindObjects."""


_BEFORE_INITIALIZE: Final = (Call.INITIALIZE, Call.FAILURE_REASON)
_MOST_REASON_BYTES: Final = 4096
"""Of a sentence. Messages of the service's errors have at most a few hundred bytes."""


class TokenStates(Protocol):
    """Source of the token (``queueing.agent.token.TokenSource``)."""

    async def current(self) -> Token:
        """The token now; raises ``SigningError``."""


class Signer(Protocol):
    """Signer of digests (``queueing.agent.signer.PatientSigner``)."""

    async def sign(self, key: str, algorithm: Algorithm, digest: bytes) -> Signature:
        """One signature; raises the ``SigningError`` that it has reported."""

    def report(self, key: str, error: SigningError) -> None:
        """Report a failure."""


class Connection:
    """State of one connection. ``answer`` may run for several messages at once: a signature does not hold up the others."""

    def __init__(self, tokens: TokenStates, signer: Signer, tenant: str) -> None:
        self._tokens = tokens
        self._signer = signer
        self._tenant = tenant
        self._sessions = Sessions()
        self._token: Token | None = None
        self._last_error: SigningError | None = None
        self._calls: Final[dict[Call, Callable[[FieldReader, FieldWriter], Awaitable[None]]]] = {
            Call.INITIALIZE: self._initialize,
            Call.FINALIZE: self._finalize,
            Call.GET_INFO: self._get_info,
            Call.GET_SLOT_LIST: self._get_slot_list,
            Call.GET_SLOT_INFO: self._get_slot_info,
            Call.GET_TOKEN_INFO: self._get_token_info,
            Call.GET_MECHANISM_LIST: self._get_mechanism_list,
            Call.GET_MECHANISM_INFO: self._get_mechanism_info,
            Call.OPEN_SESSION: self._open_session,
            Call.CLOSE_SESSION: self._close_session,
            Call.CLOSE_ALL_SESSIONS: self._close_all_sessions,
            Call.GET_SESSION_INFO: self._get_session_info,
            Call.LOGIN: self._login,
            Call.LOGOUT: self._logout,
            Call.GET_ATTRIBUTE_VALUE: self._get_attribute_value,
            Call.FIND_OBJECTS_INIT: self._find_objects_init,
            Call.FIND_OBJECTS: self._find_objects,
            Call.FIND_OBJECTS_FINAL: self._find_objects_final,
            Call.SIGN_INIT: self._sign_init,
            Call.SIGN: self._sign,
            Call.SIGN_UPDATE: self._sign_in_parts,
            Call.SIGN_FINAL: self._sign_in_parts,
            Call.WAIT_FOR_SLOT_EVENT: self._wait_for_slot_event,
            Call.FAILURE_REASON: self._failure_reason,
        }

    async def answer(self, body: bytes) -> bytes:
        """The answer to one message, whatever it is."""
        try:
            call, reader = read_request(body)
            if call not in _BEFORE_INITIALIZE:
                self._check_initialized()
            writer = answer_to(call)
            await self._calls[call](reader, writer)
            return writer.raw()
        except CallFailed as failed:
            return error_answer(failed.rv)

    # ----------------------------------------------------------------- library, slot and token

    async def _initialize(self, reader: FieldReader, _: FieldWriter) -> None:
        if reader.byte_array() != HANDSHAKE:
            raise CallFailed(Rv.GENERAL_ERROR)
        reader.byte()
        reader.byte_array()
        reader.end()
        self._token = await self._current_token()

    async def _finalize(self, reader: FieldReader, _: FieldWriter) -> None:
        reader.end()
        self._sessions.close_all()
        self._token = None

    async def _get_info(self, reader: FieldReader, answer: FieldWriter) -> None:
        reader.end()
        token_info.write_info(answer)

    async def _get_slot_list(self, reader: FieldReader, answer: FieldWriter) -> None:
        reader.byte()
        answer.ulong_array((token_info.SLOT,), reader.room())

    async def _get_slot_info(self, reader: FieldReader, answer: FieldWriter) -> None:
        token_info.check_slot(reader)
        token_info.write_slot_info(answer)

    async def _get_token_info(self, reader: FieldReader, answer: FieldWriter) -> None:
        token_info.check_slot(reader)
        token_info.write_token_info(answer, self._tenant, len(self._sessions))

    async def _get_mechanism_list(self, reader: FieldReader, answer: FieldWriter) -> None:
        token_info.check_slot(reader)
        answer.ulong_array(self._shown.mechanisms, reader.room())

    async def _get_mechanism_info(self, reader: FieldReader, answer: FieldWriter) -> None:
        token_info.check_slot(reader)
        token_info.write_mechanism_info(answer, self._shown, reader.ulong())

    async def _wait_for_slot_event(self, reader: FieldReader, _: FieldWriter) -> None:
        reader.ulong()
        raise CallFailed(Rv.NO_EVENT)

    # ------------------------------------------------------------------------------- sessions

    async def _open_session(self, reader: FieldReader, answer: FieldWriter) -> None:
        token_info.check_slot(reader)
        answer.ulong(self._sessions.open(read_write=bool(reader.ulong() & _RW_SESSION)))

    async def _close_session(self, reader: FieldReader, _: FieldWriter) -> None:
        self._sessions.close(reader.ulong())

    async def _close_all_sessions(self, reader: FieldReader, _: FieldWriter) -> None:
        token_info.check_slot(reader)
        self._sessions.close_all()

    async def _get_session_info(self, reader: FieldReader, answer: FieldWriter) -> None:
        session = self._sessions.get(reader.ulong())
        # CKS_RO_PUBLIC_SESSION 0, CKS_RO_USER_FUNCTIONS 1, CKS_RW_PUBLIC_SESSION 2, CKS_RW_USER_FUNCTIONS 3
        state = 2 * session.read_write + self._sessions.logged_in
        serial = 0x4
        answer.ulong(token_info.SLOT, state, serial | (_RW_SESSION if session.read_write else 0), 0)

    async def _login(self, reader: FieldReader, _: FieldWriter) -> None:
        """Any PIN is right, and none is needed: some tools log in all the same."""
        self._sessions.get(reader.ulong())
        reader.ulong()
        reader.byte_array()
        if self._sessions.logged_in:
            raise CallFailed(Rv.USER_ALREADY_LOGGED_IN)
        self._sessions.logged_in = True

    async def _logout(self, reader: FieldReader, _: FieldWriter) -> None:
        self._sessions.get(reader.ulong())
        if not self._sessions.logged_in:
            raise CallFailed(Rv.USER_NOT_LOGGED_IN)
        self._sessions.logged_in = False

    # -------------------------------------------------------------------------------- objects

    async def _find_objects_init(self, reader: FieldReader, _: FieldWriter) -> None:
        session = self._sessions.get(reader.ulong())
        template = read_template(reader)
        reader.end()
        if session.found is not None:
            raise CallFailed(Rv.OPERATION_ACTIVE)
        self._token = token = await self._current_token()
        session.found = deque(token.find(template))

    async def _find_objects(self, reader: FieldReader, answer: FieldWriter) -> None:
        session = self._sessions.get(reader.ulong())
        room = min(reader.room(), _MOST_FOUND)
        if session.found is None:
            raise CallFailed(Rv.OPERATION_NOT_INITIALIZED)
        handles = [session.found.popleft() for _ in range(min(room, len(session.found)))]
        answer.ulong_array(handles, room)

    async def _find_objects_final(self, reader: FieldReader, _: FieldWriter) -> None:
        session = self._sessions.get(reader.ulong())
        if session.found is None:
            raise CallFailed(Rv.OPERATION_NOT_INITIALIZED)
        session.found = None

    async def _get_attribute_value(self, reader: FieldReader, answer: FieldWriter) -> None:
        self._sessions.get(reader.ulong())
        found = self._shown.object(reader.ulong())
        wanted = read_wanted(reader)
        reader.end()
        if found is None:
            raise CallFailed(Rv.OBJECT_HANDLE_INVALID)
        write_values(answer, wanted, found.attributes)

    # ----------------------------------------------------------------------------- signatures

    async def _sign_init(self, reader: FieldReader, _: FieldWriter) -> None:
        session = self._sessions.get(reader.ulong())
        mechanism = reader.u32()
        if mechanism == NO_BYTES:  # C_SignInit without a mechanism ends the operation (PKCS#11 3.1, 5.13.1)
            session.operation = None
            return
        use = read_mechanism(mechanism, reader, _ULONG_BYTES)
        found = self._shown.object(reader.ulong())
        if session.operation is not None:
            raise CallFailed(Rv.OPERATION_ACTIVE)
        if found is None or found.key is None:
            raise CallFailed(Rv.KEY_HANDLE_INVALID)
        if use is None:
            raise CallFailed(Rv.MECHANISM_INVALID)
        if not use.fits(found.key.public_key.kind):
            raise CallFailed(Rv.KEY_TYPE_INCONSISTENT)
        session.operation = SigningOperation(found.key, use)

    async def _sign(self, reader: FieldReader, answer: FieldWriter) -> None:
        session = self._sessions.get(reader.ulong())
        data, room = reader.byte_array(), reader.room()
        reader.end()
        operation = session.operation
        if operation is None:
            raise CallFailed(Rv.OPERATION_NOT_INITIALIZED)
        size = KEY_KINDS[operation.key.public_key.kind].signature_bytes
        if room < size:  # only the length was asked for, or the tool comes back with more room
            answer.byte_array(bytes(size), 0)
            return
        session.operation = None
        try:
            signature = await self._signature(operation, data)
        except SigningError as error:
            session.last_failure = self._failed(error)
            raise CallFailed(session.last_failure) from error
        answer.byte_array(signature.raw(), room)

    async def _signature(self, operation: SigningOperation, data: bytes) -> Signature:
        key = operation.key
        try:
            algorithm, digest = operation.use.signing_input(key.public_key.kind, data)
        except SigningError as error:
            self._signer.report(key.spec, error)
            raise
        return await self._signer.sign(key.spec, algorithm, digest)

    async def _sign_in_parts(self, reader: FieldReader, _: FieldWriter) -> None:
        """No mechanism of the token takes parts. After a failed C_Sign, pkcs11-tool tries it so: it is told the same again."""
        session = self._sessions.get(reader.ulong())
        session.operation = None
        raise CallFailed(session.last_failure)

    # --------------------------------------------------------------------------------- errors

    async def _failure_reason(self, reader: FieldReader, answer: FieldWriter) -> None:
        """Answer the reason of the last failed call, for programs of our own: a return value carries none. Empty without one."""
        reader.end()
        error = self._last_error
        code, message = ("", "") if error is None else (error.reason, error.message)
        raw = message.encode("utf-8", "replace")[:_MOST_REASON_BYTES]
        answer.byte_array(code.encode(), len(code))
        answer.byte_array(raw, len(raw))

    def _failed(self, error: SigningError) -> Rv:
        self._last_error = error
        return return_value(error)

    def _check_initialized(self) -> Token:
        if self._token is None:
            raise CallFailed(Rv.CRYPTOKI_NOT_INITIALIZED)
        return self._token

    @property
    def _shown(self) -> Token:
        return self._check_initialized()

    async def _current_token(self) -> Token:
        try:
            return await self._tokens.current()
        except SigningError as error:
            self._signer.report("", error)
            raise CallFailed(self._failed(error)) from error
