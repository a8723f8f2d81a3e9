"""Native loop: the digests of a run signed by one call into ``sign_run.c``, during which this thread holds no GIL.

What comes out is what the module said: ``workers.hsm.signing`` checks lengths, encodes and verifies, as it does for
python-pkcs11.
"""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from workers.config.token_tables import LOOP_VARIABLE
from workers.hsm.native.build import library_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workers.hsm.mechanisms import MechanismRow
    from workers.hsm.module import LoadedModule

MOST_PER_CALL: Final = 64
"""Inputs of one call into C; as many as a run of a lane has at most."""

ROOM_BYTES: Final = 1024
"""Room for one signature: twice the longest; a module that needs more says CKR_BUFFER_TOO_SMALL."""


class _Mechanism(ctypes.Structure):
    """CK_MECHANISM."""

    _fields_ = (
        ("mechanism", ctypes.c_ulong),
        ("parameter", ctypes.c_void_p),
        ("parameter_bytes", ctypes.c_ulong),
    )


class _PssParameter(ctypes.Structure):
    """CK_RSA_PKCS_PSS_PARAMS (PKCS#11 3.1, 6.1.10); the salt's length is in bytes."""

    _fields_ = (("hash", ctypes.c_ulong), ("mgf", ctypes.c_ulong), ("salt_bytes", ctypes.c_ulong))


class _Run(ctypes.Structure):
    """``struct run`` of sign_run.c, where each field is explained."""

    _fields_ = (
        ("c_sign_init", ctypes.c_void_p),
        ("c_sign", ctypes.c_void_p),
        ("session", ctypes.c_ulong),
        ("key", ctypes.c_ulong),
        ("mechanism", ctypes.c_void_p),
        ("count", ctypes.c_ulong),
        ("inputs", ctypes.c_char_p),
        ("input_bytes", ctypes.c_ulong),
        ("signatures", ctypes.c_void_p),
        ("room_bytes", ctypes.c_ulong),
        ("lengths", ctypes.c_void_p),
        ("calls", ctypes.c_ulong),
        ("signed", ctypes.c_ulong),
        ("stop", ctypes.c_ulong),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeResult:
    """Result of a call: raw signatures of the first inputs in order, and the CKR value of the failure of the next input.

    ``code`` is CKR_OK where none failed; then fewer signatures than inputs mean that the run was stopped. ``calls``: calls of
    C_Sign, failed ones included.
    """

    raws: list[bytes]
    code: int
    calls: int


class NativeLoop:
    """The C function, and C_SignInit and C_Sign of the module of this process."""

    def __init__(self, function: Any, *, c_sign_init: int, c_sign: int) -> None:
        self._function = function
        self._functions = (c_sign_init, c_sign)

    def for_thread(self) -> NativeThread:
        """Loop for one session thread."""
        return NativeThread(self._function, *self._functions)


class NativeThread:
    """Native loop of one session thread, with the buffers of its calls; for this thread alone but for ``signed`` and ``stop``."""

    def __init__(self, function: Any, c_sign_init: int, c_sign: int) -> None:
        self._function = function
        self._signatures = bytearray(MOST_PER_CALL * ROOM_BYTES)
        self._lengths = (ctypes.c_ulong * MOST_PER_CALL)()
        self._run = _Run(
            c_sign_init=c_sign_init,
            c_sign=c_sign,
            signatures=ctypes.addressof(ctypes.c_char.from_buffer(self._signatures)),
            room_bytes=ROOM_BYTES,
            lengths=ctypes.addressof(self._lengths),
        )
        self._by_reference = ctypes.byref(self._run)

    @property
    def signed(self) -> int:
        """Signatures of the call that is under way, 0 between calls; other threads read it to see progress."""
        signed: int = self._run.signed
        return signed

    def stop(self) -> None:
        """Sign no further digest until ``go_on``; called by other threads. The call of the module under way is finished."""
        self._run.stop = 1

    def go_on(self) -> None:
        """Forget earlier stops."""
        self._run.stop = 0

    def key(self, session: int, key: int) -> NativeKey:
        """Key of this CK_OBJECT_HANDLE in the session of this CK_SESSION_HANDLE."""
        return NativeKey(self, session, key)

    def sign(self, key: NativeKey, mechanism: NativeMechanism, inputs: Sequence[bytes]) -> NativeResult:
        """Sign 1 to 64 inputs of one length by a key of this thread; see ``NativeKey.sign``."""
        run, count = self._run, len(inputs)
        if not 0 < count <= MOST_PER_CALL:
            raise ValueError(f"1 to {MOST_PER_CALL} inputs, not {count}")
        joined = b"".join(inputs)  # referred to until the call is over
        run.session, run.key, run.mechanism = key.session, key.handle, mechanism.address
        run.count, run.inputs, run.input_bytes = count, joined, len(joined) // count
        run.calls = run.signed = 0
        # A module that says CKR_OK and writes nothing leaves zeros, not a signature of an earlier digest.
        ctypes.memset(run.signatures, 0, count * ROOM_BYTES)
        try:
            code: int = self._function(self._by_reference)
            signed, calls = run.signed, run.calls
        finally:
            run.signed = 0  # the caller's list shows the progress from here on
            run.inputs = None
        return NativeResult(raws=[self._raw(i) for i in range(signed)], code=code, calls=calls)

    def _raw(self, index: int) -> bytes:
        """Signature number ``index``; a length beyond the room is a module's lie, and reads as no signature."""
        length, start = self._lengths[index], index * ROOM_BYTES
        return bytes(self._signatures[start : start + length]) if length <= ROOM_BYTES else b""


class NativeKey:
    """Private key in the session of a thread, signing through the thread's native loop."""

    __slots__ = ("_thread", "handle", "session")

    def __init__(self, thread: NativeThread, session: int, handle: int) -> None:
        self._thread = thread
        self.session = session
        self.handle = handle

    def sign(self, mechanism: NativeMechanism, inputs: Sequence[bytes]) -> NativeResult:
        """Sign 1 to 64 inputs of one length, in order, until one fails or the thread is stopped."""
        return self._thread.sign(self, mechanism, inputs)


class NativeMechanism:
    """CK_MECHANISM of an algorithm, with its parameter, at an address that stays."""

    def __init__(self, row: MechanismRow) -> None:
        self._parameter: _PssParameter | None = None
        self._mechanism = _Mechanism(mechanism=int(row.mechanism))
        if row.parameter is not None:
            hash_, mgf, salt_bytes = row.parameter
            self._parameter = _PssParameter(hash=int(hash_), mgf=int(mgf), salt_bytes=salt_bytes)
            self._mechanism.parameter = ctypes.addressof(self._parameter)
            self._mechanism.parameter_bytes = ctypes.sizeof(self._parameter)
        self.address = ctypes.addressof(self._mechanism)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopChoice:
    """Loop by which a lane signs its runs. ``native``: None where that is python-pkcs11's; ``why``: then the reason."""

    native: NativeLoop | None
    why: str = ""

    def __str__(self) -> str:
        return "native" if self.native is not None else f"python: {self.why}"


def choose_loop(module: LoadedModule) -> LoopChoice:
    """Native loop for this module, or the reason for which lanes sign by python-pkcs11. Raises nothing."""
    functions, asked = module.functions, os.environ.get(LOOP_VARIABLE, "native")
    if asked != "native":
        unknown = "" if asked == "python" else ", which is neither `python` nor `native`"
        return LoopChoice(native=None, why=f"{LOOP_VARIABLE} of the token is {asked[:40]!r}{unknown}")
    if functions is None:
        return LoopChoice(native=None, why="the module returns another list of functions at each call")
    if not (functions.c_sign_init and functions.c_sign):
        return LoopChoice(
            native=None, why="the module has no C_SignInit or no C_Sign in its list of functions"
        )
    try:
        function = load_function()
    except NativeLoopMissing as error:
        return LoopChoice(native=None, why=str(error))
    return LoopChoice(native=NativeLoop(function, c_sign_init=functions.c_sign_init, c_sign=functions.c_sign))


class NativeLoopMissing(Exception):
    """The library of the native loop is not there or cannot be loaded; the message says what to do."""


def load_function() -> Any:
    """``sigmill_sign_run`` of the library of this source for this processor. Raises ``NativeLoopMissing``."""
    try:
        file = library_file()
        if not file.exists():
            raise NativeLoopMissing(
                f"{file} is missing: the package was built without a C compiler, for another processor, or from another source."
                " Install it again where `cc` is, or run `python -m workers.hsm.native.build`"
            )
        function = ctypes.CDLL(str(file)).sigmill_sign_run
    except (OSError, AttributeError) as error:
        raise NativeLoopMissing(f"the library of the native loop cannot be loaded: {error}") from error
    function.restype = ctypes.c_ulong
    function.argtypes = (ctypes.POINTER(_Run),)
    return function
