"""Fault table: every PKCS#11 return value with the action that follows.

The actions, from mild to severe:

RETRY         nothing has failed: retry after a pause
DROP_SESSION  the session has failed: replace it and retry; a lane that loses several sessions exits
REPLACE_LANE  the process has failed: exit; the worker starts another lane and sends the work again
OPEN_CIRCUIT  the token has failed: exit; the circuit breaker opens for a pause (a PIN failure: until resumed)
PERMANENT     the request is refused and would be refused again; the session is good

Whatever may have reached the module counts as 'maybe signed' in the audit log, whichever action follows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Final

import pkcs11.exceptions as p11

from queueing.errors import (
    AlgorithmMismatch,
    DigestLength,
    HsmFault,
    KeyDisabled,
    SigningError,
    TokenUnavailable,
)


class Action(Enum):
    """Action that follows a failure; see the module's docstring."""

    RETRY = "retry"
    DROP_SESSION = "drop_session"
    REPLACE_LANE = "replace_lane"
    OPEN_CIRCUIT = "open_circuit"
    PERMANENT = "permanent"


@dataclass(frozen=True, slots=True)
class Fault:
    """Row of the table: return value, its name in PKCS#11 3.1 (or 3.2), action, class of python-pkcs11."""

    code: int
    name: str
    action: Action
    raised_as: type[p11.PKCS11Error] | None = None
    pin_failure: bool = False


class HsmFailure(Exception):
    """A PKCS#11 call failed, or what it returned cannot be trusted.

    ``code`` is the CKR value, or NO_CODE where the failure is ours or python-pkcs11's own. With
    ``pin_failure`` that PIN must not be tried again automatically: a retry loop locks the token.
    """

    def __init__(
        self, code_name: str, code: int, action: Action, *, pin_failure: bool = False, detail: str = ""
    ) -> None:
        super().__init__(f"{code_name}: {detail}" if detail else code_name)
        self.code_name = code_name
        self.code = code
        self.action = action
        self.pin_failure = pin_failure


NO_CODE: Final = -1
VENDOR_DEFINED: Final = 0x80000000  # CKR_VENDOR_DEFINED and everything above it

_RETRY, _DROP, _LANE = Action.RETRY, Action.DROP_SESSION, Action.REPLACE_LANE
_CIRCUIT, _NEVER = Action.OPEN_CIRCUIT, Action.PERMANENT


def _pin(code: int, name: str, raised_as: type[p11.PKCS11Error] | None = None) -> Fault:
    return Fault(code, name, _CIRCUIT, raised_as, pin_failure=True)


FAULTS: Final[tuple[Fault, ...]] = (
    Fault(0x001, "CKR_CANCEL", _DROP),
    Fault(0x002, "CKR_HOST_MEMORY", _LANE, p11.HostMemory),
    # A slot can vanish with its HSM; two SoftHSM processes that start at once can see it too.
    Fault(0x003, "CKR_SLOT_ID_INVALID", _CIRCUIT, p11.SlotIDInvalid),
    Fault(0x005, "CKR_GENERAL_ERROR", _DROP, p11.GeneralError),
    Fault(0x006, "CKR_FUNCTION_FAILED", _DROP, p11.FunctionFailed),
    Fault(0x007, "CKR_ARGUMENTS_BAD", _NEVER, p11.ArgumentsBad),
    Fault(0x008, "CKR_NO_EVENT", _RETRY, p11.NoEvent),
    Fault(0x009, "CKR_NEED_TO_CREATE_THREADS", _CIRCUIT),
    Fault(0x00A, "CKR_CANT_LOCK", _CIRCUIT),
    Fault(0x010, "CKR_ATTRIBUTE_READ_ONLY", _NEVER, p11.AttributeReadOnly),
    Fault(0x011, "CKR_ATTRIBUTE_SENSITIVE", _NEVER, p11.AttributeSensitive),
    Fault(0x012, "CKR_ATTRIBUTE_TYPE_INVALID", _NEVER, p11.AttributeTypeInvalid),
    Fault(0x013, "CKR_ATTRIBUTE_VALUE_INVALID", _NEVER, p11.AttributeValueInvalid),
    Fault(0x01B, "CKR_ACTION_PROHIBITED", _NEVER),
    Fault(0x020, "CKR_DATA_INVALID", _NEVER, p11.DataInvalid),
    Fault(0x021, "CKR_DATA_LEN_RANGE", _NEVER, p11.DataLenRange),
    Fault(0x030, "CKR_DEVICE_ERROR", _DROP, p11.DeviceError),
    Fault(0x031, "CKR_DEVICE_MEMORY", _RETRY, p11.DeviceMemory),
    Fault(0x032, "CKR_DEVICE_REMOVED", _CIRCUIT, p11.DeviceRemoved),
    Fault(0x040, "CKR_ENCRYPTED_DATA_INVALID", _NEVER, p11.EncryptedDataInvalid),
    Fault(0x041, "CKR_ENCRYPTED_DATA_LEN_RANGE", _NEVER, p11.EncryptedDataLenRange),
    Fault(0x042, "CKR_AEAD_DECRYPT_FAILED", _NEVER),
    Fault(0x050, "CKR_FUNCTION_CANCELED", _DROP, p11.FunctionCancelled),
    Fault(0x051, "CKR_FUNCTION_NOT_PARALLEL", _DROP),
    Fault(0x054, "CKR_FUNCTION_NOT_SUPPORTED", _NEVER, p11.FunctionNotSupported),
    # A key that was there is gone: the process was logged out, or the token was removed. Never refreshed in place:
    # after a new initialisation the old handle may name another tenant's key.
    Fault(0x060, "CKR_KEY_HANDLE_INVALID", _LANE, p11.KeyHandleInvalid),
    Fault(0x062, "CKR_KEY_SIZE_RANGE", _NEVER, p11.KeySizeRange),
    Fault(0x063, "CKR_KEY_TYPE_INCONSISTENT", _NEVER, p11.KeyTypeInconsistent),
    Fault(0x064, "CKR_KEY_NOT_NEEDED", _NEVER, p11.KeyNotNeeded),
    Fault(0x065, "CKR_KEY_CHANGED", _LANE),
    Fault(0x066, "CKR_KEY_NEEDED", _NEVER, p11.KeyNeeded),
    Fault(0x067, "CKR_KEY_INDIGESTIBLE", _NEVER, p11.KeyIndigestible),
    Fault(0x068, "CKR_KEY_FUNCTION_NOT_PERMITTED", _NEVER),
    Fault(0x069, "CKR_KEY_NOT_WRAPPABLE", _NEVER, p11.KeyNotWrappable),
    Fault(0x06A, "CKR_KEY_UNEXTRACTABLE", _NEVER, p11.KeyUnextractable),
    Fault(0x070, "CKR_MECHANISM_INVALID", _NEVER, p11.MechanismInvalid),
    Fault(0x071, "CKR_MECHANISM_PARAM_INVALID", _NEVER, p11.MechanismParamInvalid),
    Fault(0x082, "CKR_OBJECT_HANDLE_INVALID", _LANE, p11.ObjectHandleInvalid),
    # A session that may still be in an operation is closed, never used again; it is our own fault, too.
    Fault(0x090, "CKR_OPERATION_ACTIVE", _DROP, p11.OperationActive),
    Fault(0x091, "CKR_OPERATION_NOT_INITIALIZED", _DROP, p11.OperationNotInitialized),
    _pin(0x0A0, "CKR_PIN_INCORRECT", p11.PinIncorrect),
    _pin(0x0A1, "CKR_PIN_INVALID", p11.PinInvalid),
    _pin(0x0A2, "CKR_PIN_LEN_RANGE", p11.PinLenRange),
    _pin(0x0A3, "CKR_PIN_EXPIRED", p11.PinExpired),
    _pin(0x0A4, "CKR_PIN_LOCKED", p11.PinLocked),
    Fault(0x0B0, "CKR_SESSION_CLOSED", _DROP, p11.SessionClosed),
    Fault(0x0B1, "CKR_SESSION_COUNT", _RETRY, p11.SessionCount),
    Fault(0x0B3, "CKR_SESSION_HANDLE_INVALID", _DROP, p11.SessionHandleInvalid),
    Fault(0x0B4, "CKR_SESSION_PARALLEL_NOT_SUPPORTED", _LANE),
    Fault(0x0B5, "CKR_SESSION_READ_ONLY", _NEVER, p11.SessionReadOnly),
    Fault(0x0B6, "CKR_SESSION_EXISTS", _LANE, p11.SessionExists),
    Fault(0x0B7, "CKR_SESSION_READ_ONLY_EXISTS", _LANE, p11.SessionReadOnlyExists),
    Fault(0x0B8, "CKR_SESSION_READ_WRITE_SO_EXISTS", _LANE, p11.SessionReadWriteSOExists),
    Fault(0x0C0, "CKR_SIGNATURE_INVALID", _NEVER, p11.SignatureInvalid),
    Fault(0x0C1, "CKR_SIGNATURE_LEN_RANGE", _NEVER, p11.SignatureLenRange),
    Fault(0x0D0, "CKR_TEMPLATE_INCOMPLETE", _NEVER, p11.TemplateIncomplete),
    Fault(0x0D1, "CKR_TEMPLATE_INCONSISTENT", _NEVER, p11.TemplateInconsistent),
    Fault(0x0E0, "CKR_TOKEN_NOT_PRESENT", _CIRCUIT, p11.TokenNotPresent),
    Fault(0x0E1, "CKR_TOKEN_NOT_RECOGNIZED", _CIRCUIT, p11.TokenNotRecognised),
    Fault(0x0E2, "CKR_TOKEN_WRITE_PROTECTED", _NEVER, p11.TokenWriteProtected),
    Fault(0x0F0, "CKR_UNWRAPPING_KEY_HANDLE_INVALID", _LANE, p11.UnwrappingKeyHandleInvalid),
    Fault(0x0F1, "CKR_UNWRAPPING_KEY_SIZE_RANGE", _NEVER, p11.UnwrappingKeySizeRange),
    Fault(0x0F2, "CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT", _NEVER, p11.UnwrappingKeyTypeInconsistent),
    Fault(0x100, "CKR_USER_ALREADY_LOGGED_IN", _LANE, p11.UserAlreadyLoggedIn),
    Fault(0x101, "CKR_USER_NOT_LOGGED_IN", _LANE, p11.UserNotLoggedIn),
    # No PIN was compared, so none was spent; SoftHSM also returns it when two processes start at once.
    Fault(0x102, "CKR_USER_PIN_NOT_INITIALIZED", _CIRCUIT, p11.UserPinNotInitialized),
    Fault(0x103, "CKR_USER_TYPE_INVALID", _CIRCUIT),
    Fault(0x104, "CKR_USER_ANOTHER_ALREADY_LOGGED_IN", _CIRCUIT, p11.AnotherUserAlreadyLoggedIn),
    Fault(0x105, "CKR_USER_TOO_MANY_TYPES", _CIRCUIT, p11.UserTooManyTypes),
    Fault(0x110, "CKR_WRAPPED_KEY_INVALID", _NEVER, p11.WrappedKeyInvalid),
    Fault(0x112, "CKR_WRAPPED_KEY_LEN_RANGE", _NEVER, p11.WrappedKeyLenRange),
    Fault(0x113, "CKR_WRAPPING_KEY_HANDLE_INVALID", _LANE, p11.WrappingKeyHandleInvalid),
    Fault(0x114, "CKR_WRAPPING_KEY_SIZE_RANGE", _NEVER, p11.WrappingKeySizeRange),
    Fault(0x115, "CKR_WRAPPING_KEY_TYPE_INCONSISTENT", _NEVER, p11.WrappingKeyTypeInconsistent),
    Fault(0x120, "CKR_RANDOM_SEED_NOT_SUPPORTED", _NEVER, p11.RandomSeedNotSupported),
    Fault(0x121, "CKR_RANDOM_NO_RNG", _CIRCUIT, p11.RandomNoRNG),
    Fault(0x130, "CKR_DOMAIN_PARAMS_INVALID", _NEVER, p11.DomainParamsInvalid),
    Fault(0x140, "CKR_CURVE_NOT_SUPPORTED", _NEVER),
    Fault(0x150, "CKR_BUFFER_TOO_SMALL", _DROP),  # the operation stays active
    Fault(0x160, "CKR_SAVED_STATE_INVALID", _DROP),
    Fault(0x170, "CKR_INFORMATION_SENSITIVE", _NEVER),
    Fault(0x180, "CKR_STATE_UNSAVEABLE", _NEVER),
    Fault(0x190, "CKR_CRYPTOKI_NOT_INITIALIZED", _CIRCUIT),
    Fault(0x191, "CKR_CRYPTOKI_ALREADY_INITIALIZED", _LANE),
    Fault(0x1A0, "CKR_MUTEX_BAD", _LANE),
    Fault(0x1A1, "CKR_MUTEX_NOT_LOCKED", _LANE),
    _pin(0x1B0, "CKR_NEW_PIN_MODE"),
    _pin(0x1B1, "CKR_NEXT_OTP"),
    Fault(0x1B5, "CKR_EXCEEDED_MAX_ITERATIONS", _RETRY, p11.ExceededMaxIterations),
    Fault(0x1B6, "CKR_FIPS_SELF_TEST_FAILED", _CIRCUIT),
    Fault(0x1B7, "CKR_LIBRARY_LOAD_FAILED", _CIRCUIT),
    _pin(0x1B8, "CKR_PIN_TOO_WEAK", p11.PinTooWeak),
    Fault(0x1B9, "CKR_PUBLIC_KEY_INVALID", _NEVER, p11.PublicKeyInvalid),
    Fault(0x200, "CKR_FUNCTION_REJECTED", _DROP, p11.FunctionRejected),
    Fault(0x201, "CKR_TOKEN_RESOURCE_EXCEEDED", _RETRY),
    Fault(0x202, "CKR_OPERATION_CANCEL_FAILED", _DROP),
    Fault(0x203, "CKR_KEY_EXHAUSTED", _NEVER),
    # PKCS#11 3.2
    Fault(0x204, "CKR_PENDING", _DROP),
    Fault(0x205, "CKR_SESSION_ASYNC_NOT_SUPPORTED", _NEVER),
    Fault(0x206, "CKR_SEED_RANDOM_REQUIRED", _CIRCUIT),
    Fault(0x207, "CKR_OPERATION_NOT_VALIDATED", _NEVER),
    Fault(0x208, "CKR_TOKEN_NOT_INITIALIZED", _CIRCUIT),
    Fault(0x209, "CKR_PARAMETER_SET_NOT_SUPPORTED", _NEVER),
    # python-pkcs11's own, without a return value. A key of the configuration that is not found is a token
    # that went away or a login that was lost, not a wrong request.
    Fault(NO_CODE, "NO_SUCH_KEY", _LANE, p11.NoSuchKey),
    Fault(NO_CODE, "NO_SUCH_TOKEN", _CIRCUIT, p11.NoSuchToken),
    Fault(NO_CODE, "MULTIPLE_OBJECTS", _NEVER, p11.MultipleObjectsReturned),
    Fault(NO_CODE, "MULTIPLE_TOKENS", _CIRCUIT, p11.MultipleTokensReturned),
)

_BY_CODE: Final[dict[int, Fault]] = {row.code: row for row in FAULTS if row.code != NO_CODE}
_BY_CLASS: Final[dict[type[BaseException], Fault]] = {row.raised_as: row for row in FAULTS if row.raised_as}

# Messages of python-pkcs11 0.10 where it has no class (map_rv_to_error in its _pkcs11.pxd; lib in _pkcs11.pyx).
_UNMAPPED: Final = re.compile(r"Unmapped error code 0x([0-9a-fA-F]+)")
_SAYINGS: Final[tuple[tuple[str, int], ...]] = (
    ("Buffer was too small", 0x150),
    ("(already initialized)", 0x191),
    ("(not initialized)", 0x190),
    ("Parallel not supported", 0x0B4),
    ("User type invalid", 0x103),
    ("exception while loading", 0x1B7),
    ("Failed to cancel operation", 0x202),
)

_PERMANENT_AS: Final[dict[str, type[SigningError]]] = {
    "CKR_DATA_INVALID": DigestLength,
    "CKR_DATA_LEN_RANGE": DigestLength,
    "CKR_MECHANISM_INVALID": AlgorithmMismatch,
    "CKR_MECHANISM_PARAM_INVALID": AlgorithmMismatch,
    "CKR_KEY_TYPE_INCONSISTENT": AlgorithmMismatch,
    "CKR_KEY_SIZE_RANGE": AlgorithmMismatch,
    "CKR_FUNCTION_NOT_SUPPORTED": AlgorithmMismatch,
}


def failure_for_code(code: int) -> HsmFailure:
    """The failure of a CKR value; vendor-defined and unknown ones drop the session."""
    row = _BY_CODE.get(code)
    if row is not None:
        return _failure(row)
    family = "CKR_VENDOR" if code >= VENDOR_DEFINED else "CKR"
    return HsmFailure(f"{family}_0x{code:08X}", code, Action.DROP_SESSION)


def translate(exc: BaseException) -> HsmFailure:
    """Failure of an exception of python-pkcs11; to be raised ``from`` the exception.

    Any other exception out of a PKCS#11 call (a value that python-pkcs11 cannot unpack) replaces the lane.
    The exception's text is not passed on: a message could quote what was searched for.
    """
    if isinstance(exc, HsmFailure):
        return exc
    row = next((_BY_CLASS[cls] for cls in type(exc).__mro__ if cls in _BY_CLASS), None)
    if row is not None:
        return _failure(row)
    if isinstance(exc, p11.PKCS11Error):
        code = _code_in(str(exc))
        if code is not None:
            return failure_for_code(code)
    return HsmFailure("UNEXPECTED", NO_CODE, Action.REPLACE_LANE, detail=type(exc).__name__)


@contextmanager
def translated() -> Iterator[None]:
    """Raise python-pkcs11's errors as ``HsmFailure``, and the MemoryError of a length that no value has; ours pass. Not for the
    hot loop (1 us).
    """
    try:
        yield
    except (p11.PKCS11Error, MemoryError) as exc:
        raise translate(exc) from exc


def to_signing_error(failure: HsmFailure) -> SigningError:
    """Error for the client: retryable for all but PERMANENT."""
    if failure.action is Action.PERMANENT:
        refused_as = _PERMANENT_AS.get(failure.code_name, KeyDisabled)
        return refused_as(f"the token refuses to sign this ({failure.code_name})")
    if failure.action is Action.OPEN_CIRCUIT:
        return TokenUnavailable(f"the token cannot be used now ({failure.code_name})")
    return HsmFault(f"the HSM failed ({failure.code_name})")


def _failure(row: Fault) -> HsmFailure:
    return HsmFailure(row.name, row.code, row.action, pin_failure=row.pin_failure)


def _code_in(message: str) -> int | None:
    found = _UNMAPPED.search(message)
    if found is not None:
        return int(found.group(1), 16)
    return next((code for saying, code in _SAYINGS if saying in message), None)
