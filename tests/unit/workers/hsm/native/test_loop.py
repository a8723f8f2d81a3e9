"""Native loop, calling functions of a module that are written in Python."""

from __future__ import annotations

import _hashlib
import ctypes
import platform
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from queueing.errors import DigestLength, SigningError
from queueing.protocol.algorithms import Algorithm, KeyKind
from queueing.protocol.public_keys import PublicKey
from tests.support.keys import generate_key, spki_of
from workers.config.token_tables import LOOP_VARIABLE
from workers.hsm.faults import Action, HsmFailure
from workers.hsm.mechanisms import MECHANISMS
from workers.hsm.module import LoadedModule
from workers.hsm.native import build, loop
from workers.hsm.native.loop import (
    MOST_PER_CALL,
    ROOM_BYTES,
    NativeLoop,
    NativeMechanism,
    NativeThread,
    choose_loop,
)
from workers.hsm.signing import Signer, Timing

ECDSA = Algorithm.ECDSA_SHA_256
SESSION, KEY = 7, 11
DEVICE_ERROR, DATA_LEN_RANGE = 0x30, 0x21

_SignInit = ctypes.CFUNCTYPE(ctypes.c_ulong, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_ulong)
_Sign = ctypes.CFUNCTYPE(
    ctypes.c_ulong, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_void_p, ctypes.POINTER(ctypes.c_ulong)
)  # fmt: skip


class FakeModule:
    """C_SignInit and C_Sign of a module: the signature of data is the data backwards, until a code is scripted for a call."""

    def __init__(self) -> None:
        self.inits: list[tuple[int, ...]] = []
        self.inputs: list[bytes] = []
        self.init_codes: dict[int, int] = {}
        self.sign_codes: dict[int, int] = {}
        self.says_bytes: int | None = None
        self.silent = False
        self.before_sign: Callable[[], None] = lambda: None
        self.c_sign_init, self.c_sign = _SignInit(self._sign_init), _Sign(self._sign)

    def loop(self) -> NativeLoop:
        build.compile_library()
        function = ctypes.CDLL(str(build.library_file())).sigmill_sign_run
        function.restype = ctypes.c_ulong
        return NativeLoop(
            function,
            c_sign_init=ctypes.cast(self.c_sign_init, ctypes.c_void_p).value or 0,
            c_sign=ctypes.cast(self.c_sign, ctypes.c_void_p).value or 0,
        )

    def _sign_init(self, session: int, mechanism: int, key: int) -> int:
        kind, parameter, parameter_bytes = (ctypes.c_ulong * 3).from_address(mechanism)
        words = (ctypes.c_ulong * (parameter_bytes // 8)).from_address(parameter) if parameter else ()
        self.inits.append((session, key, kind, *words))
        return self.init_codes.get(len(self.inits), 0)

    def _sign(self, session: int, data: int, data_bytes: int, signature: int, signature_bytes: Any) -> int:
        assert session == SESSION
        assert signature_bytes[0] == ROOM_BYTES
        self.before_sign()
        self.inputs.append(ctypes.string_at(data, data_bytes))
        code = self.sign_codes.get(len(self.inputs), 0)
        if not code:
            if not self.silent:
                ctypes.memmove(signature, self.inputs[-1][::-1], data_bytes)
            signature_bytes[0] = data_bytes if self.says_bytes is None else self.says_bytes
        return code


@pytest.fixture
def module() -> FakeModule:
    return FakeModule()


@pytest.fixture
def thread(module: FakeModule) -> NativeThread:
    return module.loop().for_thread()


def ecdsa() -> NativeMechanism:
    return NativeMechanism(MECHANISMS[ECDSA])


def inputs(count: int, length: int = 32) -> list[bytes]:
    return [i.to_bytes(length, "little") for i in range(count)]


@pytest.mark.parametrize("count", [1, 2, MOST_PER_CALL])
def test_each_input_is_signed_in_order(module: FakeModule, thread: NativeThread, count: int) -> None:
    """The named key and session are used, and nothing of an earlier call is left."""
    for _ in range(2):
        given = inputs(count)
        result = thread.key(SESSION, KEY).sign(ecdsa(), given)
        assert (result.raws, result.code, result.calls) == ([each[::-1] for each in given], 0, count)
    assert {(session, key) for session, key, *_ in module.inits} == {(SESSION, KEY)}
    assert thread.signed == 0


@pytest.mark.parametrize("count", [0, MOST_PER_CALL + 1])
def test_no_input_and_too_many_inputs_reach_no_module(
    module: FakeModule, thread: NativeThread, count: int
) -> None:
    with pytest.raises(ValueError, match="1 to 64 inputs"):
        thread.key(SESSION, KEY).sign(ecdsa(), inputs(count))
    assert module.inits == []


def test_a_mechanism_has_its_parameter(module: FakeModule, thread: NativeThread) -> None:
    """CK_RSA_PKCS_PSS_PARAMS: hash, MGF and the salt's length; ECDSA has none."""
    row = MECHANISMS[Algorithm.RSASSA_PSS_SHA_384]
    assert row.parameter is not None
    thread.key(SESSION, KEY).sign(NativeMechanism(row), inputs(1, 48))
    thread.key(SESSION, KEY).sign(ecdsa(), inputs(1))
    assert module.inits == [
        (SESSION, KEY, int(row.mechanism), *map(int, row.parameter)),
        (SESSION, KEY, int(MECHANISMS[ECDSA].mechanism)),
    ]


@pytest.mark.parametrize("failing, calls", [("init_codes", 2), ("sign_codes", 3)])
def test_the_first_failure_ends_the_call(
    module: FakeModule, thread: NativeThread, failing: str, calls: int
) -> None:
    """The signatures before it are there, and a C_Sign that fails is counted, since it may have signed."""
    getattr(module, failing)[3] = DEVICE_ERROR
    given = inputs(5)
    result = thread.key(SESSION, KEY).sign(ecdsa(), given)
    assert (result.raws, result.code) == ([each[::-1] for each in given[:2]], DEVICE_ERROR)
    assert (result.calls, len(module.inits)) == (calls, 3)


@pytest.mark.parametrize("length", [0, 1, ROOM_BYTES, ROOM_BYTES + 1, 2**63])
def test_a_length_that_the_module_says_is_read_within_its_room(
    module: FakeModule, thread: NativeThread, length: int
) -> None:
    module.says_bytes = length
    (raw,) = thread.key(SESSION, KEY).sign(ecdsa(), inputs(1)).raws
    assert len(raw) == (length if length <= ROOM_BYTES else 0)


def test_a_stop_ends_the_run_behind_the_call_under_way_until_it_is_forgotten(
    module: FakeModule, thread: NativeThread
) -> None:
    module.before_sign = lambda: thread.stop() if thread.signed == 1 else None
    key, given = thread.key(SESSION, KEY), inputs(5)
    stopped = key.sign(ecdsa(), given)
    assert (len(stopped.raws), stopped.code) == (2, 0)
    assert key.sign(ecdsa(), given).raws == []
    thread.go_on()
    module.before_sign = lambda: None
    assert len(key.sign(ecdsa(), given).raws) == 5


def test_other_threads_run_and_see_the_progress_meanwhile(module: FakeModule, thread: NativeThread) -> None:
    """The module waits in its third call for another thread, which sees two signatures."""
    reached, seen = threading.Event(), list[int]()
    go_on = threading.Event()

    def wait_in_the_third() -> None:
        if len(module.inputs) == 2:
            reached.set()
            assert go_on.wait(30)

    def look() -> None:
        assert reached.wait(30)
        seen.append(thread.signed)
        go_on.set()

    module.before_sign = wait_in_the_third
    other = threading.Thread(target=look)
    other.start()
    thread.key(SESSION, KEY).sign(ecdsa(), inputs(4))
    other.join()
    assert (seen, thread.signed) == ([2], 0)


# ---- a signer with a native loop ----


@pytest.fixture
def public() -> PublicKey:
    return PublicKey.from_spki(spki_of(generate_key(KeyKind.P256)))


def signer(thread: NativeThread, public: PublicKey, spent: Timing | None = None) -> Signer:
    """Signer whose key is of no use to python-pkcs11. It does not verify: the fake module signs nothing."""
    native = thread.key(SESSION, KEY)
    return Signer(cast("Any", SimpleNamespace(sign=None)), public, verify=False, spent=spent, native=native)


@pytest.fixture
def as_long(module: FakeModule) -> None:
    """The fake module's signatures are as long as those of P-256."""
    module.says_bytes = 64


@pytest.mark.usefixtures("as_long")
def test_a_run_of_any_length_is_signed_in_calls_of_at_most_64(
    module: FakeModule, thread: NativeThread, public: PublicKey
) -> None:
    spent, done = Timing(), list[bytes | SigningError]()
    signer(thread, public, spent).sign_run(ECDSA, inputs(150), done)
    assert len(done) == spent.calls == len(module.inputs) == 150
    assert module.inputs == inputs(150)


@pytest.mark.usefixtures("as_long")
def test_a_digest_that_the_module_refuses_costs_itself(
    module: FakeModule, thread: NativeThread, public: PublicKey
) -> None:
    module.sign_codes[2] = DATA_LEN_RANGE
    done = list[bytes | SigningError]()
    signer(thread, public).sign_run(ECDSA, inputs(4), done)
    assert [isinstance(outcome, SigningError) for outcome in done] == [False, True, False, False]
    assert module.inputs == inputs(4)


@pytest.mark.usefixtures("as_long")
def test_a_failure_of_the_session_leaves_what_was_signed(
    module: FakeModule, thread: NativeThread, public: PublicKey
) -> None:
    module.sign_codes[3] = DEVICE_ERROR
    spent, done = Timing(), list[bytes | SigningError]()
    with pytest.raises(HsmFailure) as caught:
        signer(thread, public, spent).sign_run(ECDSA, inputs(4), done)
    assert caught.value.code == DEVICE_ERROR
    assert (len(done), spent.calls) == (2, 3)


@pytest.mark.usefixtures("as_long")
def test_a_stopped_run_leaves_the_rest_without_outcomes(
    module: FakeModule, thread: NativeThread, public: PublicKey
) -> None:
    module.before_sign = lambda: thread.stop() if len(module.inputs) == 1 else None
    done = list[bytes | SigningError]()
    signer(thread, public).sign_run(ECDSA, inputs(100), done)
    assert len(done) == 2


def test_a_key_is_tried_by_one_digest_before_a_run(
    module: FakeModule, thread: NativeThread, public: PublicKey
) -> None:
    """A handle that is another key's signs one digest, and the lane is replaced."""
    module.says_bytes = 64
    key = Signer(cast("Any", SimpleNamespace(sign=None)), public, native=thread.key(SESSION, KEY))
    with pytest.raises(HsmFailure, match="does not verify"):
        key.sign_run(ECDSA, inputs(40), [])
    assert module.inputs == inputs(1)


def test_a_module_that_writes_nothing_gives_nothing_of_an_earlier_digest(
    module: FakeModule, thread: NativeThread
) -> None:
    thread.key(SESSION, KEY).sign(ecdsa(), inputs(2))
    module.silent = True
    assert thread.key(SESSION, KEY).sign(ecdsa(), inputs(2)).raws == [bytes(32)] * 2


def test_what_the_module_says_is_not_believed(thread: NativeThread, public: PublicKey) -> None:
    """32 bytes are no form of a signature of this key; the lane is replaced."""
    with pytest.raises(HsmFailure, match="no reading of it verifies") as caught:
        signer(thread, public).sign_run(ECDSA, inputs(2), [])
    assert caught.value.action is Action.REPLACE_LANE


@pytest.mark.parametrize("strange", [bytes(31), b"", "0" * 32, bytearray(32), None])
def test_a_run_with_a_value_that_is_no_digest_is_left_to_the_other_loop(
    module: FakeModule, thread: NativeThread, public: PublicKey, strange: object
) -> None:
    """There the value gets an error; here it would move the bytes of the digests after it."""
    key = SimpleNamespace(sign=lambda *_, **__: bytes(64))
    native = thread.key(SESSION, KEY)
    mixed = Signer(cast("Any", key), public, verify=False, native=native)
    done = list[bytes | SigningError]()
    mixed.sign_run(ECDSA, [bytes(32), strange, bytes(32)], done)  # type: ignore[list-item]
    assert [type(outcome) for outcome in done] == [bytes, DigestLength, bytes]
    assert module.inputs == []


# ---- which loop ----


def loaded(**functions: int) -> LoadedModule:
    addresses = SimpleNamespace(c_sign_init=1, c_sign=2, **functions)
    return cast("LoadedModule", SimpleNamespace(functions=addresses))


@pytest.fixture(autouse=True)
def _nothing_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    build.compile_library()
    monkeypatch.delenv(LOOP_VARIABLE, raising=False)


@pytest.mark.parametrize("asked", [None, "native"])
def test_the_loop_is_native_where_its_library_was_built(
    monkeypatch: pytest.MonkeyPatch, asked: str | None
) -> None:
    if asked is not None:
        monkeypatch.setenv(LOOP_VARIABLE, asked)
    assert str(choose_loop(loaded())) == "native"


@pytest.mark.parametrize("asked", ["python", "Python", "", "x" * 5000])
def test_the_operator_may_choose_the_other_one(monkeypatch: pytest.MonkeyPatch, asked: str) -> None:
    """A word that is neither is told, and is not taken for the native one."""
    monkeypatch.setenv(LOOP_VARIABLE, asked)
    choice = choose_loop(loaded())
    assert choice.native is None
    assert ("neither" in choice.why) is (asked != "python")
    assert len(str(choice)) < 200


@pytest.mark.parametrize("content", [None, b"", b"\x7fELF of another processor"])
def test_without_a_library_that_can_be_loaded_the_loop_is_python(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, content: bytes | None
) -> None:
    """The reason names the file, and where there is none also what to do."""
    file = tmp_path / f"sign_run-0-{platform.machine()}.so"
    if content is not None:
        file.write_bytes(content)
    monkeypatch.setattr(loop, "library_file", lambda: file)
    choice = choose_loop(loaded())
    assert choice.native is None
    assert str(file) in choice.why
    assert ("python -m workers.hsm.native.build" in choice.why) is (content is None)


def test_a_library_without_the_function_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "library_file", lambda: Path(_hashlib.__file__))
    assert "sigmill_sign_run" in choose_loop(loaded()).why


@pytest.mark.parametrize(
    "functions, why",
    [(None, "another list"), (SimpleNamespace(c_sign_init=None, c_sign=2), "no C_SignInit")],
)
def test_a_module_without_one_list_of_functions_signs_by_python(functions: object, why: str) -> None:
    assert why in choose_loop(cast("LoadedModule", SimpleNamespace(functions=functions))).why
