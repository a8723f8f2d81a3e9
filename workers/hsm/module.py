"""PKCS#11 module, loaded once and initialised for threads.

python-pkcs11 calls ``C_Initialize(NULL)``, which promises the module that one thread will call it (PKCS#11 3.1,
5.4), and then lets many call at once: SoftHSM switches its mutexes off and dies within seconds. So, once per
process and before anything else, the module is finalised and initialised again with ``CKF_OS_LOCKING_OK``.
``lib.reinitialize()`` would undo that silently, and would let old key objects name other keys: never call it.
"""

from __future__ import annotations

import ctypes
import threading
from dataclasses import dataclass
from typing import Any, Final

import pkcs11

from workers.hsm.faults import HsmFailure, failure_for_code, translated

CKR_OK: Final = 0x00
_CKR_CANT_LOCK: Final = 0x0A  # PKCS#11 3.1, 5.1.4: locking was asked for and the module has none
_CKF_OS_LOCKING_OK: Final = 0x02  # PKCS#11 3.1, 3.7, CK_C_INITIALIZE_ARGS


class _InitializeArgs(ctypes.Structure):
    """CK_C_INITIALIZE_ARGS: without the four mutex callbacks and with the flag, use the system's locks."""

    _fields_ = (
        ("create_mutex", ctypes.c_void_p),
        ("destroy_mutex", ctypes.c_void_p),
        ("lock_mutex", ctypes.c_void_p),
        ("unlock_mutex", ctypes.c_void_p),
        ("flags", ctypes.c_ulong),
        ("reserved", ctypes.c_void_p),
    )


class _Version(ctypes.Structure):
    _fields_ = (("major", ctypes.c_ubyte), ("minor", ctypes.c_ubyte))


_OneArgument = ctypes.CFUNCTYPE(ctypes.c_ulong, ctypes.c_void_p)
_SlotArgument = ctypes.CFUNCTYPE(ctypes.c_ulong, ctypes.c_ulong, ctypes.c_void_p)


class FunctionList(ctypes.Structure):
    """Head of CK_FUNCTION_LIST, up to C_GetTokenInfo, the seventh function (PKCS#11 3.1, 3.8).

    Each function returns a CKR value. ctypes aligns the pointers behind CK_VERSION as the C compiler does.
    """

    _fields_ = (
        ("version", _Version),
        ("c_initialize", _OneArgument),
        ("c_finalize", _OneArgument),
        ("c_get_info", ctypes.c_void_p),
        ("c_get_function_list", ctypes.c_void_p),
        ("c_get_slot_list", ctypes.c_void_p),
        ("c_get_slot_info", ctypes.c_void_p),
        ("c_get_token_info", _SlotArgument),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModule:
    """PKCS#11 module of this process; ``threads_allowed`` is False where the module refused locking."""

    path: str
    lib: pkcs11._pkcs11.lib
    threads_allowed: bool
    description: str


class ModuleAlreadyLoaded(RuntimeError):
    """A process loads one module, once: start another process."""


_once: Final = threading.Lock()


def load(path: str) -> LoadedModule:
    """Load and initialise the module at ``path``, for threads if it lets us.

    To be called once per process, after the last fork and before any other PKCS#11 call; a second call,
    also after a failed one, raises ``ModuleAlreadyLoaded``. Raises ``HsmFailure`` if the module cannot be
    loaded or initialised: the process is then of no further use.
    """
    if not _once.acquire(blocking=False):
        raise ModuleAlreadyLoaded("this process has loaded a PKCS#11 module before")
    with translated():
        lib = pkcs11.lib(path)
    threads_allowed = _initialize_for_threads(path)
    return LoadedModule(
        path=path,
        lib=lib,
        threads_allowed=threads_allowed,
        description=f"{lib.manufacturer_id} {lib.library_description}".strip(),
    )


def _initialize_for_threads(path: str) -> bool:
    functions = function_list(path)
    _require(functions.c_finalize(None))
    args = _InitializeArgs(flags=_CKF_OS_LOCKING_OK)
    code: int = functions.c_initialize(ctypes.byref(args))
    if code == _CKR_CANT_LOCK:
        _require(functions.c_initialize(None))
        return False
    _require(code)
    return True


def function_list(path: str) -> Any:
    """CK_FUNCTION_LIST of the module already loaded: dlopen returns the same handle for the same path.

    Some vendors export C_GetFunctionList alone (PKCS#11 3.1, 5.4.4, asks for no more). Raises ``HsmFailure``.
    """
    get_function_list = ctypes.CDLL(path).C_GetFunctionList
    get_function_list.restype = ctypes.c_ulong
    get_function_list.argtypes = (ctypes.POINTER(ctypes.POINTER(FunctionList)),)
    pointer = ctypes.POINTER(FunctionList)()
    _require(get_function_list(ctypes.byref(pointer)))
    return pointer.contents


def _require(code: int) -> None:
    if code != CKR_OK:
        failure: HsmFailure = failure_for_code(code)
        raise failure
