"""How many sessions a token allows: CK_TOKEN_INFO has it, python-pkcs11 does not pass it on."""

from __future__ import annotations

import ctypes
from typing import Final

_CKR_OK: Final = 0x00
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


class _FunctionList(ctypes.Structure):
    """CK_FUNCTION_LIST up to C_GetTokenInfo, the seventh function (PKCS#11 3.1, 3.8)."""

    _fields_ = (
        ("version", ctypes.c_ubyte * 2),
        ("before", ctypes.c_void_p * 6),
        (
            "get_token_info",
            ctypes.CFUNCTYPE(ctypes.c_ulong, ctypes.c_ulong, ctypes.POINTER(_TokenInfo)),
        ),
    )


def most_sessions(module_path: str, slot: int) -> int | None:
    """The most sessions that the token in ``slot`` allows; 0: without limit; None: it does not say.

    The module must be loaded and initialised already. What other applications use of them is not to be had:
    CK_TOKEN_INFO counts the sessions of the asking process.
    """
    get_function_list = ctypes.CDLL(module_path).C_GetFunctionList
    get_function_list.restype = ctypes.c_ulong
    get_function_list.argtypes = (ctypes.POINTER(ctypes.POINTER(_FunctionList)),)
    functions = ctypes.POINTER(_FunctionList)()
    if get_function_list(ctypes.byref(functions)) != _CKR_OK:
        return None
    info = _TokenInfo()
    if functions.contents.get_token_info(slot, ctypes.byref(info)) != _CKR_OK:
        return None
    return None if info.most_sessions == _UNAVAILABLE else int(info.most_sessions)
