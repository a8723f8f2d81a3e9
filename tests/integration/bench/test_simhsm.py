"""The simulated network HSM on SoftHSM: it forwards, takes its time, fails by rule and keeps a log.

A process loads a module once, so each case is a process of its own.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bench.hsm.simhsm import SimHsm, read_log, write_rules
from queueing.protocol.algorithms import KeyKind

if TYPE_CHECKING:
    from tests.integration.bench.conftest import BenchToken

RunChild = Callable[..., Any]
SignWith = Callable[..., Any]
ONE_EACH = 'data = {"RSA_2048": bytes(51), "P256": bytes(32), "P384": bytes(48), "ED25519": bytes(32)}\n'
TEN_P256 = (
    'answer["outcomes"] = [outcome(lambda: sign("P256", bytes(31) + bytes([n]))) for n in range(1, 11)]\n'
)


@pytest.fixture
def sign_with(bench_token: BenchToken, run_child: RunChild, tmp_path: Path) -> SignWith:
    """Run a snippet against a device of chosen behaviour and fault rules."""

    def run(snippet: str, *rules: str, **behaviour: Any) -> Any:
        faults = tmp_path / "faults"
        write_rules(faults, rules)
        device = SimHsm(
            real_module=bench_token.softhsm.module_path,
            faults_file=faults,
            log=tmp_path / "log",
            **behaviour,
        )
        return run_child(snippet, device.environment())

    return run


def test_it_forwards_every_kind_of_key(sign_with: SignWith) -> None:
    """Signatures made through it verify, and searching, generating random and verifying reach the real one."""
    child = sign_with(
        ONE_EACH
        + "answer['verified'] = {kind: verify(kind, data[kind], sign(kind, data[kind])) for kind in keys}\n"
        + "answer['random'] = len(session.generate_random(128))\n"
        + "answer['token'] = token.label\n"
    )
    assert child.exit_code == 0, child.stderr
    assert child.answer["verified"] == dict.fromkeys(["RSA_2048", "P256", "P384", "ED25519"], True)
    assert (child.answer["random"], child.answer["token"]) == (16, "bench")


def test_all_68_functions_are_there(sign_with: SignWith) -> None:
    """The function list has no gap, and each entry is the exported function of that name."""
    child = sign_with(
        """
import ctypes, re
raw = ctypes.CDLL(os.environ["TEST_MODULE"])
pointer = ctypes.POINTER(ctypes.c_void_p)()
assert raw.C_GetFunctionList(ctypes.byref(pointer)) == 0
version = ctypes.string_at(pointer, 2)
entries = [pointer[n + 1] for n in range(68)]
answer["version"] = list(version)
answer["empty"] = sum(entry is None for entry in entries)
answer["distinct"] = len(set(entries))
named = {"C_Initialize": 0, "C_GetFunctionList": 3, "C_Sign": 43, "C_WaitForSlotEvent": 67}
answer["in place"] = all(
    entries[at] == ctypes.cast(getattr(raw, name), ctypes.c_void_p).value for name, at in named.items()
)
"""
    )
    assert child.exit_code == 0, child.stderr
    assert child.answer == {"version": [2, 40], "empty": 0, "distinct": 68, "in place": True}


def test_each_call_takes_its_chosen_time(sign_with: SignWith) -> None:
    """python-pkcs11 asks for the length too, so three calls of 20 ms are at least 60 ms."""
    child = sign_with(
        """
start = time.perf_counter()
for _ in range(3):
    sign("P256", bytes(32))
answer["seconds"] = time.perf_counter() - start
""",
        signinit_us=20_000,
        length_us=20_000,
        sign_us=20_000,
    )
    assert child.answer["seconds"] >= 3 * 0.060


THREADS = """
import threading
def work(session):
    key = find(session, "P256", ObjectClass.PRIVATE_KEY)
    for _ in range(5):
        key.sign(bytes(32), mechanism=Mechanism.ECDSA)
sessions = [token.open() for _ in range(8)]
threads = [threading.Thread(target=work, args=(each,)) for each in sessions]
start = time.perf_counter()
for thread in threads: thread.start()
for thread in threads: thread.join()
answer["seconds"] = time.perf_counter() - start
"""


def test_slots_bound_what_runs_at_once(sign_with: SignWith) -> None:
    """40 signatures of 20 ms through 2 slots take at least 400 ms, whatever the number of sessions."""
    child = sign_with(THREADS, sign_us=20_000, slots=2)
    assert child.exit_code == 0, child.stderr
    assert child.answer["seconds"] >= 40 / 2 * 0.020


def test_without_slots_sessions_run_side_by_side(sign_with: SignWith) -> None:
    """8 sessions wait at the same time: 40 signatures of 100 ms need less than one after another."""
    child = sign_with(THREADS, sign_us=100_000)
    assert child.exit_code == 0, child.stderr
    assert 5 * 0.100 <= child.answer["seconds"] < 40 * 0.100


def test_canned_signatures_have_the_right_length_and_do_not_verify(sign_with: SignWith) -> None:
    """Canned signatures have their key's length, do not verify, and are all the same."""
    child = sign_with(
        ONE_EACH
        + "answer['lengths'] = {kind: len(sign(kind, data[kind])) for kind in keys}\n"
        + "answer['verified'] = any(verify(k, data[k], sign(k, data[k])) for k in ('P256', 'RSA_2048'))\n"
        + "real = [sign('P256', bytes(32)) for _ in range(2)]\n"
        + "answer['alike'] = real[0] == real[1]\n",
        canned=True,
    )
    assert child.exit_code == 0, child.stderr
    assert child.answer["lengths"] == {"RSA_2048": 256, "P256": 64, "P384": 96, "ED25519": 64}
    assert child.answer["verified"] is False
    assert child.answer["alike"] is True


def test_repeated_inputs_get_the_same_signature_and_each_verifies(sign_with: SignWith) -> None:
    """A second ECDSA signature of the same digest would be another one; other inputs and other keys have their own."""
    child = sign_with(
        ONE_EACH
        + """
twice = {kind: [sign(kind, data[kind]) for _ in range(2)] for kind in keys}
other = {kind: sign(kind, bytes([1]) + data[kind][1:]) for kind in keys}
answer["same"] = all(one == two for one, two in twice.values())
answer["verified"] = all(verify(kind, data[kind], two) for kind, (_, two) in twice.items())
answer["others verified"] = all(verify(kind, bytes([1]) + data[kind][1:], other[kind]) for kind in keys)
answer["others differ"] = all(other[kind] != twice[kind][0] for kind in keys)
""",
        repeats=True,
    )
    assert child.exit_code == 0, child.stderr
    expected = dict.fromkeys(["same", "verified", "others verified", "others differ"], True)
    assert child.answer == expected


def test_repeated_inputs_take_their_time_and_fail_by_rule(sign_with: SignWith, tmp_path: Path) -> None:
    """What is answered from memory takes as long as the device, ends by a fault, and is in the log."""
    child = sign_with(
        """
start = time.perf_counter()
answer["outcomes"] = [outcome(lambda: sign("P256", bytes(32))) for _ in range(4)]
answer["seconds"] = time.perf_counter() - start
""",
        "C_Sign rv=0x30 nth=3",
        repeats=True,
        sign_us=20_000,
    )
    assert child.exit_code == 0, child.stderr
    assert child.answer["outcomes"] == ["ok", "ok", "DeviceError", "ok"]
    assert child.answer["seconds"] >= 4 * 0.020
    assert [record.rv for record in read_log(tmp_path / "log")] == [0, 0, 0x30, 0]


def test_a_return_value_by_rule(sign_with: SignWith, tmp_path: Path) -> None:
    """Every third C_Sign fails with CKR_DEVICE_ERROR; the session signs afterwards, so its operation has
    ended.
    """
    child = sign_with(TEN_P256, "C_Sign rv=0x30 every=3")
    assert child.exit_code == 0, child.stderr
    expected = ["DeviceError" if n % 3 == 0 else "ok" for n in range(1, 11)]
    assert child.answer["outcomes"] == expected
    assert [record.rv for record in read_log(tmp_path / "log")] == [
        0x30 if n % 3 == 0 else 0 for n in range(1, 11)
    ]


def test_after_and_nth_count_from_one(sign_with: SignWith) -> None:
    """`after=8` spares eight calls, `nth=2` hits the second alone."""
    child = sign_with(TEN_P256, "C_Sign rv=0x30 after=8", "C_Sign rv=0x101 nth=2")
    assert child.answer["outcomes"] == ["ok", "UserNotLoggedIn", *["ok"] * 6, "DeviceError", "DeviceError"]


def test_canned_operations_end_by_a_fault_too(sign_with: SignWith) -> None:
    """A canned device fails and recovers as the real one does."""
    child = sign_with(TEN_P256, "C_Sign rv=0x30 every=5", canned=True)
    assert child.answer["outcomes"].count("DeviceError") == 2
    assert child.answer["outcomes"].count("ok") == 8


@pytest.mark.parametrize(
    "rule,call,error",
    [
        ("C_OpenSession rv=0xB1 nth=2", "token.open()", "SessionCount"),
        ("C_SignInit rv=0x30 nth=1", "sign('P256', bytes(32))", "DeviceError"),
        ("C_SignLength rv=0x30 nth=1", "sign('P256', bytes(32))", "DeviceError"),
        ("C_GenerateRandom rv=0x30", "session.generate_random(8)", "DeviceError"),
    ],
)
def test_any_call_can_fail(rule: str, call: str, error: str, sign_with: SignWith) -> None:
    """Rules name any function, the length query included."""
    child = sign_with(f"answer['outcome'] = outcome(lambda: {call})", rule)
    assert child.exit_code == 0, child.stderr
    assert child.answer["outcome"] == error


def test_a_refused_login_never_reaches_the_token(sign_with: SignWith) -> None:
    """A wrong PIN can be played without using up the token's tries."""
    child = sign_with("", "C_Login rv=0xA0")
    assert child.exit_code == 1
    assert "PinIncorrect" in child.stderr


def test_exit_ends_the_process_without_an_exception(sign_with: SignWith, tmp_path: Path) -> None:
    """The third C_Sign calls exit(5), as SoftHSM itself can; two signatures are in the log."""
    child = sign_with(
        "try:\n    [sign('P256', bytes(32)) for _ in range(5)]\nfinally:\n    print('FINALLY')",
        "C_Sign exit=5 nth=3",
    )
    assert child.exit_code == 5
    assert len(read_log(tmp_path / "log")) == 2


def test_segv_kills_the_process(sign_with: SignWith) -> None:
    """A crash in C ends the process by the signal."""
    assert sign_with(TEN_P256, "C_Sign segv nth=1").exit_code == -signal.SIGSEGV


def test_corrupt_flips_a_bit_of_the_signature(sign_with: SignWith) -> None:
    """Every second signature is returned as a success and does not verify."""
    child = sign_with(
        "answer['verified'] = [verify('P256', bytes(32), sign('P256', bytes(32))) for _ in range(4)]",
        "C_Sign corrupt every=2",
    )
    assert child.answer["verified"] == [True, False, True, False]


def test_a_hang_may_end(sign_with: SignWith) -> None:
    """`hang=0.3` signs after that time."""
    child = sign_with(
        """
start = time.perf_counter()
answer["outcome"] = outcome(lambda: sign("P256", bytes(32)))
answer["seconds"] = time.perf_counter() - start
""",
        "C_Sign hang=0.3 nth=1",
    )
    assert child.answer["outcome"] == "ok"
    assert child.answer["seconds"] >= 0.3


def test_a_hang_without_end_only_ends_with_the_process(sign_with: SignWith) -> None:
    """The call is still under way when the process leaves; other sessions were not in its way."""
    child = sign_with(
        """
import threading
other = token.open()
key = find(other, "P256", ObjectClass.PRIVATE_KEY)
stuck = threading.Thread(target=lambda: sign("P256", bytes(32)), daemon=True)
stuck.start()
stuck.join(0.3)
answer["stuck"] = stuck.is_alive()
answer["other"] = outcome(lambda: key.sign(bytes(32), mechanism=Mechanism.ECDSA))
print("ANSWER", json.dumps(answer), flush=True)
os._exit(0)
""",
        "C_Sign hang nth=1",
    )
    assert child.answer == {"stuck": True, "other": "ok"}


def test_a_held_call_signs_when_the_rules_change(sign_with: SignWith) -> None:
    """`hold` keeps the call until the file is replaced; it signs then, whatever the new rules say of later calls."""
    child = sign_with(
        """
import threading
from bench.hsm.simhsm import read_log, write_rules
path = Path(os.environ["SIMHSM_FAULTS_FILE"])
held = threading.Thread(target=lambda: answer.update(outcome=outcome(lambda: sign("P256", bytes(32)))))
held.start()
held.join(0.1)
answer["held"] = held.is_alive()
answer["signed"] = len(read_log(Path(os.environ["SIMHSM_LOG"])))
write_rules(path, ["C_Sign rv=0x30 after=1"])
held.join(60)
""",
        "C_Sign hold",
    )
    assert child.answer == {"held": True, "signed": 0, "outcome": "ok"}


def test_a_poisoned_input_fails_wherever_it_goes(sign_with: SignWith) -> None:
    """`tail` matches the end of the input, so a rule can follow one job from lane to lane."""
    child = sign_with(TEN_P256, "C_Sign rv=0x30 tail=000007")
    assert [n for n, outcome in enumerate(child.answer["outcomes"], start=1) if outcome != "ok"] == [7]


def test_once_hits_one_process_only(sign_with: SignWith) -> None:
    """The first process to get there claims the fault; those after it are spared."""
    rule = "C_Sign rv=0x30 nth=1 once"
    first, second = (sign_with(TEN_P256, rule) for _ in range(2))
    assert first.answer["outcomes"] == ["DeviceError", *["ok"] * 9]
    assert second.answer["outcomes"] == ["ok"] * 10


def test_rules_change_while_the_module_is_loaded(sign_with: SignWith) -> None:
    """A changed file counts within 10 ms; emptied or removed, the faults end."""
    child = sign_with(
        """
from bench.hsm.simhsm import write_rules
path = Path(os.environ["SIMHSM_FAULTS_FILE"])
def after(change):
    change()
    time.sleep(0.02)
    return outcome(lambda: sign("P256", bytes(32)))
answer["outcomes"] = [
    after(lambda: None),
    after(lambda: write_rules(path, ["C_Sign rv=0x30"])),
    after(lambda: write_rules(path, ["C_Sign rv=0x101"])),
    after(lambda: write_rules(path, [])),
    after(lambda: write_rules(path, ["C_SignInit rv=0x30"])),
    after(lambda: path.unlink()),
]
"""
    )
    assert child.answer["outcomes"] == ["ok", "DeviceError", "UserNotLoggedIn", "ok", "DeviceError", "ok"]


@pytest.mark.parametrize(
    "rule",
    [
        "C_Sing rv=0x30",
        "C_Sign",
        "C_Sign rv=nine",
        "C_Sign corrupted",
        "C_Login corrupt",
        "C_Sign rv=1 evry=2",
        "C_Sign rv=1 tail=abc",
        "C_Login rv=1 tail=ab",
        "C_Sign hang=-1",
        "C_GetFunctionList rv=5",
    ],
)
def test_a_rule_that_cannot_be_read_ends_the_process(rule: str, sign_with: SignWith) -> None:
    """The process ends by SIGABRT, and stderr has the line of the rule."""
    child = sign_with("", "# a comment is fine", "", rule)
    assert child.exit_code == -signal.SIGABRT
    assert "simhsm: " in child.stderr
    assert ":3: " in child.stderr


def test_the_log_is_an_independent_witness(sign_with: SignWith, tmp_path: Path) -> None:
    """One line for each finished C_Sign, from every thread: who, which input, what came out."""
    child = sign_with(
        """
import threading
answer["pid"] = os.getpid()
made = {}
def work(number, session):
    key = find(session, "P256", ObjectClass.PRIVATE_KEY)
    for n in range(25):
        data = bytes(24) + number.to_bytes(4, "big") + n.to_bytes(4, "big")
        made[data[-8:].hex()] = key.sign(data, mechanism=Mechanism.ECDSA)[:8].hex()
sessions = [token.open() for _ in range(4)]
threads = [threading.Thread(target=work, args=pair) for pair in enumerate(sessions)]
for thread in threads: thread.start()
for thread in threads: thread.join()
answer["made"] = made
"""
    )
    assert child.exit_code == 0, child.stderr
    records = read_log(tmp_path / "log")
    assert {record.input_tail.hex(): record.signature_head.hex() for record in records} == child.answer[
        "made"
    ]
    assert len(records) == 100
    assert {record.pid for record in records} == {child.answer["pid"]}
    assert len({record.session for record in records}) == 4


@pytest.mark.parametrize(
    "variables,complaint",
    [
        ({"SIMHSM_MODULE": ""}, "SIMHSM_MODULE: not set"),
        ({"SIMHSM_MODULE": "no-such-module.so"}, "no-such-module.so"),
        ({"SIMHSM_SIGN_US": "1ms"}, "SIMHSM_SIGN_US: not a whole number"),
    ],
)
def test_a_wrong_setting_is_refused_and_said(
    variables: dict[str, str], complaint: str, bench_token: BenchToken, run_child: RunChild
) -> None:
    """The module does not load, and stderr tells why."""
    device = SimHsm(real_module=bench_token.softhsm.module_path)
    child = run_child("", {**device.environment(), **variables})
    assert child.exit_code == 1
    assert complaint in child.stderr


def test_the_ceiling_loop_drives_it(bench_token: BenchToken, native_build: Path) -> None:
    """Four C threads on a device of 10 ms and two slots do 200 a second at most."""
    from bench.ceiling.measure import measure_ceiling
    from bench.ceiling.probe import Drive, Loop
    from bench.native.build import build_simhsm

    device = SimHsm(real_module=bench_token.softhsm.module_path, sign_us=10_000, slots=2, canned=True)
    target = bench_token.target(KeyKind.P256, build_simhsm(native_build), device.environment())
    drive = Drive(loop=Loop.C, threads=4, processes=1)
    found = measure_ceiling(target, [drive], rounds=1, seconds=0.4, build_directory=native_build)
    assert 60 < found.per_s <= 220
