"""Calls of p11-kit's RPC protocol: their numbers, and the form of their requests and answers.

A message is the number of the call, its signature as text, and the fields that the signature names. Numbers and signatures
have not changed from p11-kit 0.24.1 to 0.26.4 (``p11-kit/rpc-message.h``).
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from queueing.agent.cryptoki import Rv
from queueing.agent.rpc.fields import CallFailed, FieldReader, FieldWriter, Malformed

HANDSHAKE: Final = b"PRIVATE-GNOME-KEYRING-PKCS11-PROTOCOL-V-1"
"""First field of C_Initialize."""


class Call(IntEnum):
    """Calls that the agent knows, by the number of the protocol."""

    INITIALIZE = 1
    FINALIZE = 2
    GET_INFO = 3
    GET_SLOT_LIST = 4
    GET_SLOT_INFO = 5
    GET_TOKEN_INFO = 6
    GET_MECHANISM_LIST = 7
    GET_MECHANISM_INFO = 8
    OPEN_SESSION = 10
    CLOSE_SESSION = 11
    CLOSE_ALL_SESSIONS = 12
    GET_SESSION_INFO = 13
    LOGIN = 18
    LOGOUT = 19
    GET_ATTRIBUTE_VALUE = 24
    FIND_OBJECTS_INIT = 26
    FIND_OBJECTS = 27
    FIND_OBJECTS_FINAL = 28
    SIGN_INIT = 42
    SIGN = 43
    SIGN_UPDATE = 44
    SIGN_FINAL = 45
    WAIT_FOR_SLOT_EVENT = 65
    FAILURE_REASON = 0x5369_0001
    """The agent's own, far above p11-kit's numbers: code and sentence of the connection's last failed call."""


_SIGNATURES: Final[dict[Call, tuple[bytes, bytes]]] = {
    # request, answer
    Call.INITIALIZE: (b"ayyay", b""),
    Call.FINALIZE: (b"", b""),
    Call.GET_INFO: (b"", b"vsusv"),
    Call.GET_SLOT_LIST: (b"yfu", b"au"),
    Call.GET_SLOT_INFO: (b"u", b"ssuvv"),
    Call.GET_TOKEN_INFO: (b"u", b"ssssuuuuuuuuuuuvvs"),
    Call.GET_MECHANISM_LIST: (b"ufu", b"au"),
    Call.GET_MECHANISM_INFO: (b"uu", b"uuu"),
    Call.OPEN_SESSION: (b"uu", b"u"),
    Call.CLOSE_SESSION: (b"u", b""),
    Call.CLOSE_ALL_SESSIONS: (b"u", b""),
    Call.GET_SESSION_INFO: (b"u", b"uuuu"),
    Call.LOGIN: (b"uuay", b""),
    Call.LOGOUT: (b"u", b""),
    Call.GET_ATTRIBUTE_VALUE: (b"uufA", b"aAu"),
    Call.FIND_OBJECTS_INIT: (b"uaA", b""),
    Call.FIND_OBJECTS: (b"ufu", b"au"),
    Call.FIND_OBJECTS_FINAL: (b"u", b""),
    Call.SIGN_INIT: (b"uMu", b""),
    Call.SIGN: (b"uayfy", b"ay"),
    Call.SIGN_UPDATE: (b"uay", b""),
    Call.SIGN_FINAL: (b"ufy", b"ay"),
    Call.WAIT_FOR_SLOT_EVENT: (b"u", b"u"),
    Call.FAILURE_REASON: (b"", b"ayay"),
}


def read_request(body: bytes) -> tuple[Call, FieldReader]:
    """The call of a request, and a reader of its fields.

    Raises ``Malformed``, or ``CallFailed`` for a function that the agent's token does not have.
    """
    reader = FieldReader(body)
    number = reader.u32()
    signature = reader.array()
    try:
        call = Call(number)
    except ValueError:
        raise CallFailed(Rv.FUNCTION_NOT_SUPPORTED) from None
    if signature != _SIGNATURES[call][0]:
        raise Malformed
    return call, reader


def answer_to(call: Call) -> FieldWriter:
    """A writer for the fields of the answer to a call that succeeded."""
    writer = FieldWriter()
    writer.u32(call)
    writer.array(_SIGNATURES[call][1])
    return writer


def error_answer(rv: Rv) -> bytes:
    """The answer to a call that failed; call 0 with the return value."""
    writer = FieldWriter()
    writer.u32(0)
    writer.array(b"u")
    writer.ulong(rv)
    return writer.raw()
