"""A module is initialised for threads, once per process, and what it refuses is noticed."""

from __future__ import annotations

import ctypes
import threading
from types import SimpleNamespace
from typing import Any

import pkcs11
import pytest

from workers.hsm import module
from workers.hsm.faults import Action, HsmFailure

WORD = ctypes.sizeof(ctypes.c_void_p)


class FakeFunctions:
    """C_Initialize with scripted answers; notes each call and its flags."""

    def __init__(self, *, locking: int = 0, single: int = 0) -> None:
        self.calls: list[tuple[str, int | None]] = []
        self._locking, self._single = locking, single

    def c_initialize(self, argument: Any) -> int:
        if argument is None:
            self.calls.append(("initialize", None))
            return self._single
        self.calls.append(("initialize", argument._obj.flags))
        return self._locking


def test_the_arguments_have_the_layout_of_the_standard() -> None:
    """CK_C_INITIALIZE_ARGS: four callbacks, CK_FLAGS, pReserved; each as wide as a pointer."""
    assert ctypes.sizeof(module._InitializeArgs) == 6 * WORD
    assert module._InitializeArgs.flags.offset == 4 * WORD
    assert module._InitializeArgs.reserved.offset == 5 * WORD


def test_the_function_list_is_aligned_behind_the_version() -> None:
    assert module.FunctionList.c_initialize.offset == WORD
    assert module.FunctionList.c_finalize.offset == 2 * WORD
    assert module.FunctionList.c_get_token_info.offset == 7 * WORD
    assert module.FunctionList.c_sign_init.offset == 43 * WORD
    assert module.FunctionList.c_sign.offset == 44 * WORD


def test_the_module_is_initialised_once_with_os_locking() -> None:
    """Some modules can be initialised once in a process, or have no C_Finalize."""
    functions = FakeFunctions()
    assert module.initialize_for_threads(functions) is True
    assert functions.calls == [("initialize", 0x02)]


@pytest.mark.parametrize("refusal", [0x0A, 0x07, 0x09])
def test_a_module_that_refuses_locking_is_used_by_one_thread(refusal: int) -> None:
    functions = FakeFunctions(locking=refusal)
    assert module.initialize_for_threads(functions) is False
    assert functions.calls == [("initialize", 0x02), ("initialize", None)]


@pytest.mark.parametrize(
    "functions", [FakeFunctions(locking=0x191), FakeFunctions(locking=0x0A, single=0x191)]
)
def test_a_module_that_initialised_itself_is_used_by_one_thread(functions: FakeFunctions) -> None:
    """Its locks are not known."""
    assert module.initialize_for_threads(functions) is False


@pytest.mark.parametrize(
    "functions, name",
    [
        (FakeFunctions(locking=0x30), "CKR_DEVICE_ERROR"),
        (FakeFunctions(locking=0x0A, single=0x05), "CKR_GENERAL_ERROR"),
    ],
)
def test_a_module_that_fails_to_initialise_is_not_used(functions: FakeFunctions, name: str) -> None:
    with pytest.raises(HsmFailure) as caught:
        module.initialize_for_threads(functions)
    assert caught.value.code_name == name


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has loaded nothing: with a lock of the test's own, and no real module."""
    monkeypatch.setattr(module, "_once", threading.Lock())
    lib = SimpleNamespace(
        manufacturer_id="Maker", library_description="Thing", threads_allowed=True, functions=None
    )
    monkeypatch.setattr(module, "_Library", lambda path: lib)


def test_a_process_loads_one_module_once(fresh: None) -> None:
    loaded = module.load("/module.so")
    assert (loaded.path, loaded.threads_allowed, loaded.description) == ("/module.so", True, "Maker Thing")
    for path in ("/module.so", "/other.so"):
        with pytest.raises(module.ModuleAlreadyLoaded):
            module.load(path)


def test_after_a_failed_load_the_process_loads_nothing_more(
    fresh: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: str) -> None:
        raise pkcs11.PKCS11Error("OS exception while loading /module.so: no such file")

    monkeypatch.setattr(module, "_Library", fail)
    with pytest.raises(HsmFailure) as caught:
        module.load("/module.so")
    assert (caught.value.code_name, caught.value.action) == ("CKR_LIBRARY_LOAD_FAILED", Action.OPEN_CIRCUIT)
    with pytest.raises(module.ModuleAlreadyLoaded):
        module.load("/module.so")
