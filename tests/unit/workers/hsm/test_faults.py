"""Fault table: every failure of PKCS#11 has one row with its action."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pkcs11.exceptions
import pytest

from queueing.errors import (
    AlgorithmMismatch,
    DigestLength,
    HsmFault,
    KeyDisabled,
    SigningError,
    TokenUnavailable,
)
from workers.hsm.faults import (
    FAULTS,
    NO_CODE,
    Action,
    Fault,
    HsmFailure,
    failure_for_code,
    to_signing_error,
    translate,
    translated,
)

CLASSES = [
    cls
    for cls in vars(pkcs11.exceptions).values()
    if inspect.isclass(cls) and issubclass(cls, pkcs11.exceptions.PKCS11Error)
]
LEAVES = [cls for cls in CLASSES if cls is not pkcs11.exceptions.PKCS11Error]


@pytest.mark.parametrize("cls", LEAVES)
def test_each_class_of_python_pkcs11_is_in_the_table(cls: type[Exception]) -> None:
    assert [row for row in FAULTS if row.raised_as is cls], f"{cls.__name__} has no row"
    assert translate(cls()).code_name != "UNEXPECTED"


def test_no_class_and_no_code_has_two_rows() -> None:
    classes = [row.raised_as for row in FAULTS if row.raised_as]
    codes = [row.code for row in FAULTS if row.code != NO_CODE]
    assert len(classes) == len(set(classes))
    assert len(codes) == len(set(codes))
    assert len({row.name for row in FAULTS}) == len(FAULTS)


def test_the_names_of_the_table_are_those_that_python_pkcs11_knows() -> None:
    """Its header lists the standard's CKR_ names: each is a row (CKR_OK is no failure)."""
    header = Path(pkcs11.__file__).with_name("_pkcs11.pxd").read_text(encoding="utf-8")
    names = set(re.findall(r"\bCKR_[A-Z0-9_]+\b", header)) - {"CKR_OK", "CKR_VENDOR_DEFINED"}
    assert names <= {row.name for row in FAULTS}


@pytest.mark.parametrize("row", [row for row in FAULTS if row.code != NO_CODE], ids=lambda row: row.name)
def test_a_code_without_a_class_is_read_from_the_message(row: Fault) -> None:
    failure = translate(pkcs11.exceptions.PKCS11Error(f"Unmapped error code {hex(row.code)}"))
    assert failure.code == row.code
    assert (failure.code_name, failure.action) == (row.name, row.action)
    assert failure_for_code(row.code).action is row.action


@pytest.mark.parametrize(
    "message, name",
    [
        ("Buffer was too small. Should never see this.", "CKR_BUFFER_TOO_SMALL"),
        (
            "Initialisation error (already initialized). Should never see this.",
            "CKR_CRYPTOKI_ALREADY_INITIALIZED",
        ),
        ("Initialisation error (not initialized). Should never see this.", "CKR_CRYPTOKI_NOT_INITIALIZED"),
        ("Parallel not supported. Should never see this.", "CKR_SESSION_PARALLEL_NOT_SUPPORTED"),
        ("User type invalid. Should never see this.", "CKR_USER_TYPE_INVALID"),
        ("OS exception while loading /x.so: no such file", "CKR_LIBRARY_LOAD_FAILED"),
        ("Unknown exception while loading /x.so", "CKR_LIBRARY_LOAD_FAILED"),
        ("Unmapped error code 0x68", "CKR_KEY_FUNCTION_NOT_PERMITTED"),
    ],
)
def test_what_python_pkcs11_says_only_in_words_is_understood(message: str, name: str) -> None:
    assert translate(pkcs11.exceptions.PKCS11Error(message)).code_name == name


def test_vendor_codes_and_unknown_ones_drop_the_session_and_keep_their_number() -> None:
    vendor = translate(pkcs11.exceptions.PKCS11Error("Unmapped error code 0x80000105"))
    assert (vendor.code_name, vendor.action) == ("CKR_VENDOR_0x80000105", Action.DROP_SESSION)
    unknown = failure_for_code(0x7777)
    assert (unknown.code_name, unknown.action) == ("CKR_0x00007777", Action.DROP_SESSION)


@pytest.mark.parametrize("exc", [ValueError("0x80001234 is not a valid KeyType"), KeyError("x"), Exception()])
def test_any_other_exception_out_of_a_call_replaces_the_lane(exc: Exception) -> None:
    failure = translate(exc)
    assert failure.action is Action.REPLACE_LANE
    assert failure.code == NO_CODE


def test_the_text_of_a_foreign_exception_is_not_passed_on() -> None:
    failure = translate(pkcs11.exceptions.NoSuchKey("No key matching {LABEL: 'tenant-secret'}"))
    assert "tenant-secret" not in str(failure)
    assert "digest" not in str(translate(RuntimeError("digest 00ff")))


@pytest.mark.parametrize(
    "cls, action",
    [
        (pkcs11.exceptions.SessionHandleInvalid, Action.DROP_SESSION),
        (pkcs11.exceptions.OperationActive, Action.DROP_SESSION),
        (pkcs11.exceptions.DeviceError, Action.DROP_SESSION),
        (pkcs11.exceptions.GeneralError, Action.DROP_SESSION),
        (pkcs11.exceptions.UserNotLoggedIn, Action.REPLACE_LANE),
        (pkcs11.exceptions.ObjectHandleInvalid, Action.REPLACE_LANE),
        (pkcs11.exceptions.KeyHandleInvalid, Action.REPLACE_LANE),
        (pkcs11.exceptions.NoSuchKey, Action.REPLACE_LANE),
        (pkcs11.exceptions.HostMemory, Action.REPLACE_LANE),
        (pkcs11.exceptions.SessionCount, Action.RETRY),
        (pkcs11.exceptions.DeviceRemoved, Action.OPEN_CIRCUIT),
        (pkcs11.exceptions.TokenNotPresent, Action.OPEN_CIRCUIT),
        (pkcs11.exceptions.DataLenRange, Action.PERMANENT),
        (pkcs11.exceptions.MechanismInvalid, Action.PERMANENT),
    ],
)
def test_a_failure_has_its_action(cls: type[Exception], action: Action) -> None:
    assert translate(cls()).action is action


def test_a_pin_failure_is_marked_and_opens_the_circuit() -> None:
    marked = {row.name for row in FAULTS if row.pin_failure}
    assert marked == {
        "CKR_PIN_INCORRECT",
        "CKR_PIN_INVALID",
        "CKR_PIN_LEN_RANGE",
        "CKR_PIN_EXPIRED",
        "CKR_PIN_LOCKED",
        "CKR_PIN_TOO_WEAK",
        "CKR_NEW_PIN_MODE",
        "CKR_NEXT_OTP",
    }
    assert all(row.action is Action.OPEN_CIRCUIT for row in FAULTS if row.pin_failure)
    assert translate(pkcs11.exceptions.PinIncorrect()).pin_failure
    assert not translate(pkcs11.exceptions.DeviceError()).pin_failure


def test_a_failure_passes_through_translation_unchanged() -> None:
    failure = HsmFailure("X", NO_CODE, Action.RETRY)
    assert translate(failure) is failure


def test_translated_raises_from_the_foreign_error_and_lets_ours_pass() -> None:
    with pytest.raises(HsmFailure) as caught, translated():
        raise pkcs11.exceptions.DeviceRemoved
    assert isinstance(caught.value.__cause__, pkcs11.exceptions.DeviceRemoved)
    with pytest.raises(KeyDisabled), translated():
        raise KeyDisabled


@pytest.mark.parametrize("row", FAULTS, ids=lambda row: row.name)
def test_a_client_is_told_to_come_back_unless_the_refusal_is_permanent(row: Fault) -> None:
    failure = HsmFailure(row.name, row.code, row.action)
    error = to_signing_error(failure)
    assert isinstance(error, SigningError)
    assert error.retryable is (failure.action is not Action.PERMANENT)
    assert failure.code_name in error.message


@pytest.mark.parametrize(
    "code, cls",
    [
        (0x021, DigestLength),
        (0x070, AlgorithmMismatch),
        (0x068, KeyDisabled),
        (0x030, HsmFault),
        (0x0E0, TokenUnavailable),
        (0x0A0, TokenUnavailable),
    ],
)
def test_the_reply_to_a_client_depends_on_the_code(code: int, cls: type[SigningError]) -> None:
    assert type(to_signing_error(failure_for_code(code))) is cls


def test_importing_the_package_loads_no_pkcs11() -> None:
    code = "import sys, workers.hsm; sys.exit('pkcs11' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=30).returncode == 0
