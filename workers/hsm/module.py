"""PKCS#11 module, loaded once and initialised for threads.

python-pkcs11 calls ``C_Initialize(NULL)``, which promises the module that one thread will call it (PKCS#11 3.1,
5.4), and then lets many call at once: SoftHSM switches its mutexes off and dies within seconds. So its ``initialize`` is
replaced by our own, with ``CKF_OS_LOCKING_OK``, and each process initialises its module once: some modules can be
initialised once only, and some have no ``C_Finalize``. ``lib.reinitialize()`` would undo that silently, and would let old
key objects name other keys: never call it.
"""

from __future__ import annotations

import ctypes
import threading
from dataclasses import dataclass
from typing import Any, Final

import pkcs11
from pkcs11 import _pkcs11

from workers.hsm.faults import HsmFailure, failure_for_code, translated

CKR_OK: Final = 0x00
_CKR_ALREADY_INITIALIZED: Final = 0x191  # by the module itself, while it was loaded
_NO_LOCKING: Final = frozenset(
    {
        0x0A,  # CKR_CANT_LOCK (PKCS#11 3.1, 5.1.4): locking was asked for and the module has none
        0x07,  # CKR_ARGUMENTS_BAD and
        0x09,  # CKR_NEED_TO_CREATE_THREADS: of modules that do not know the argument
    }
)
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
    """Head of CK_FUNCTION_LIST, up to C_Sign, function 44 of 68 (PKCS#11 3.1, 3.8).

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
        ("c_get_mechanism_list_to_c_digest_final", ctypes.c_void_p * 35),
        ("c_sign_init", ctypes.c_void_p),
        ("c_sign", ctypes.c_void_p),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModule:
    """PKCS#11 module of this process; ``threads_allowed`` is False where the module refused locking.

    ``functions``: CK_FUNCTION_LIST through which it was initialised; None where each call of C_GetFunctionList returns another.
    """

    path: str
    lib: pkcs11._pkcs11.lib
    threads_allowed: bool
    description: str
    functions: FunctionList | None = None


class ModuleAlreadyLoaded(RuntimeError):
    """A process loads one module, once: start another process."""


_once: Final = threading.Lock()
_kept: Final[list[pkcs11._pkcs11.lib]] = []
"""The module for the rest of the process, also if it failed: python-pkcs11 finalises and unloads one that nothing refers to."""


def load(path: str) -> LoadedModule:
    """Load and initialise the module at ``path``, for threads if it lets us.

    To be called once per process, after the last fork and before any other PKCS#11 call; a second call,
    also after a failed one, raises ``ModuleAlreadyLoaded``. Raises ``HsmFailure`` if the module cannot be
    loaded or initialised: the process is then of no further use.
    """
    if not _once.acquire(blocking=False):
        raise ModuleAlreadyLoaded("this process has loaded a PKCS#11 module before")
    with translated():
        lib = _Library(path)
    return LoadedModule(
        path=path,
        lib=lib,
        threads_allowed=lib.threads_allowed,
        description=f"{lib.manufacturer_id} {lib.library_description}".strip(),
        functions=lib.functions,
    )


class _Library(_pkcs11.lib):
    """Module of python-pkcs11, initialised for threads where it lets us; its constructor calls ``initialize``."""

    threads_allowed = False
    functions: FunctionList | None = None

    def initialize(self) -> None:
        """Initialise the module, once."""
        _kept.append(self)
        if _has_several_lists(self.so):
            # p11-kit's proxy: what is initialised through one list is not through another. It locks internally, but
            # without the flag no caller may rely on that.
            super().initialize()
            return
        self.functions = function_list(self.so)
        self.threads_allowed = initialize_for_threads(self.functions)


def initialize_for_threads(functions: Any) -> bool:
    """Initialise with ``CKF_OS_LOCKING_OK``, or without where the module refuses it; returns whether it accepted the flag."""
    args = _InitializeArgs(flags=_CKF_OS_LOCKING_OK)
    code: int = functions.c_initialize(ctypes.byref(args))
    if code in _NO_LOCKING:
        code = functions.c_initialize(None)
    elif code == CKR_OK:
        return True
    if code != _CKR_ALREADY_INITIALIZED:
        _require(code)
    return False


def _has_several_lists(path: str) -> bool:
    """Whether C_GetFunctionList returns another list at each call, as p11-kit's proxy does."""
    first, second = function_list(path), function_list(path)
    return ctypes.addressof(first) != ctypes.addressof(second)


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
