"""Token selection: exactly one must match; otherwise the error has their number, and all tokens."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import cast

import pytest
from pkcs11 import TokenFlag
from pkcs11.exceptions import DeviceError, DeviceRemoved, PKCS11Error, SlotIDInvalid, TokenNotPresent

from queueing.errors import TokenUnavailable
from workers.hsm.faults import HsmFailure
from workers.hsm.module import LoadedModule
from workers.hsm.tokens import TokenSelect, select_token, serial_of


class FakeSlot:
    def __init__(
        self,
        slot_id: int,
        label: str = "",
        serial: bytes = b"",
        *,
        initialized: bool = True,
        fails: Exception | None = None,
        answers: threading.Event | None = None,
    ) -> None:
        self.slot_id, self._fails, self._answers = slot_id, fails, answers
        flags = TokenFlag.TOKEN_INITIALIZED if initialized else TokenFlag(0)
        texts = {"manufacturer_id": "maker", "model": "model", "label": label}
        self.token = SimpleNamespace(**texts, serial=serial, flags=flags, slot=self)

    def get_token(self) -> SimpleNamespace:
        if self._answers is not None:
            self._answers.wait()
        if self._fails is not None:
            raise self._fails
        return self.token


def module_with(*slots: FakeSlot, threads: bool = True) -> LoadedModule:
    lib = SimpleNamespace(get_slots=lambda token_present: list(slots))
    return cast("LoadedModule", SimpleNamespace(lib=lib, threads_allowed=threads))


RELEASE = FakeSlot(1, "release", b"00aa")
TWIN = FakeSlot(2, "release", b"00bb")
KERNEL = FakeSlot(3, "kernel", b"00cc  ")
EMPTY = FakeSlot(4, initialized=False)


@pytest.mark.parametrize(
    "select, slot_id",
    [
        (TokenSelect(label="kernel"), 3),
        (TokenSelect(label="kernel   "), 3),
        (TokenSelect(serial="00cc"), 3),
        (TokenSelect(slot=2), 2),
        (TokenSelect(label="release", serial="00aa"), 1),
        (TokenSelect(slot=3, label="kernel", serial="00cc"), 3),
    ],
)
def test_the_one_token_that_matches_is_chosen(select: TokenSelect, slot_id: int) -> None:
    assert select_token(module_with(RELEASE, TWIN, KERNEL, EMPTY), select).slot.slot_id == slot_id


@pytest.mark.parametrize(
    "select, count",
    [
        (TokenSelect(label="nothing"), 0),
        (TokenSelect(label="Release"), 0),
        (TokenSelect(label="rel"), 0),
        (TokenSelect(slot=4), 0),
        (TokenSelect(slot=1, label="kernel"), 0),
        (TokenSelect(label="release"), 2),
        (TokenSelect(), 3),
    ],
)
def test_no_match_and_several_are_errors_that_say_how_many_and_list_what_is_there(
    select: TokenSelect, count: int
) -> None:
    with pytest.raises(TokenUnavailable) as caught:
        select_token(module_with(RELEASE, TWIN, KERNEL, EMPTY), select)
    assert caught.value.message.startswith(f"{count} tokens match")
    for part in ("'release'", "'00aa'", "'00bb'", "'kernel'", "'00cc'"):
        assert part in caught.value.message


def test_a_token_pulled_out_between_two_calls_is_skipped() -> None:
    gone = FakeSlot(9, "release", fails=TokenNotPresent())
    assert select_token(module_with(gone, RELEASE), TokenSelect(label="release")).slot.slot_id == 1


def test_a_failing_slot_is_a_failure() -> None:
    with pytest.raises(HsmFailure):
        select_token(module_with(FakeSlot(9, fails=DeviceRemoved())), TokenSelect(label="release"))


def test_the_failure_of_a_slot_tells_which_one_and_what_else_is_there() -> None:
    with pytest.raises(HsmFailure, match=r"slot 9 does not answer.*label 'kernel'") as caught:
        select_token(module_with(FakeSlot(9, fails=DeviceRemoved()), KERNEL), TokenSelect(label="release"))
    assert caught.value.code_name == "CKR_DEVICE_REMOVED"


@pytest.mark.parametrize("threads", [True, False])
@pytest.mark.parametrize("fails", [DeviceRemoved(), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no")])
def test_a_sick_neighbour_keeps_no_token_from_being_used(threads: bool, fails: Exception) -> None:
    module = module_with(FakeSlot(0, fails=fails), RELEASE, threads=threads)
    assert select_token(module, TokenSelect(label="release")).slot.slot_id == 1


def test_a_neighbour_that_does_not_answer_keeps_no_token_from_being_used() -> None:
    answers = threading.Event()
    module = module_with(FakeSlot(0, "kernel", answers=answers), RELEASE)
    try:
        assert select_token(module, TokenSelect(label="release"), patience_s=0.0).slot.slot_id == 1
    finally:
        answers.set()


def test_without_threads_the_slot_in_question_is_asked_first_and_alone() -> None:
    module = module_with(FakeSlot(0, answers=threading.Event()), RELEASE, threads=False)
    assert select_token(module, TokenSelect(slot=1)).slot.slot_id == 1


def test_with_nothing_there_the_error_says_so() -> None:
    with pytest.raises(TokenUnavailable, match="no initialised token"):
        select_token(module_with(), TokenSelect(slot=1))


@pytest.mark.parametrize("serial", [b"00aa", b"00aa    ", b"00aa\0\0"])
def test_a_serial_is_read_without_its_padding(serial: bytes) -> None:
    token = FakeSlot(1, "x", serial).token
    assert select_token(module_with(FakeSlot(1, "x", serial)), TokenSelect(serial="00aa")).label == "x"
    assert serial_of(token) == "00aa"  # type: ignore[arg-type]


def module_that_lists(*answers: PKCS11Error | list[FakeSlot]) -> LoadedModule:
    """Module with one answer for each list of its slots."""
    left = list(answers)

    def get_slots(*, token_present: bool) -> list[FakeSlot]:
        assert token_present
        answer = left.pop(0)
        if isinstance(answer, PKCS11Error):
            raise answer
        return answer

    lib = SimpleNamespace(get_slots=get_slots)
    return cast("LoadedModule", SimpleNamespace(lib=lib, threads_allowed=True))


def test_a_slot_that_vanishes_between_two_calls_keeps_no_other_token_from_being_used() -> None:
    module = module_that_lists(SlotIDInvalid(), TokenNotPresent(), [KERNEL])
    assert select_token(module, TokenSelect(label="kernel")).slot.slot_id == 3


@pytest.mark.parametrize(
    "answers",
    [(DeviceError(),), (SlotIDInvalid(), DeviceRemoved(), SlotIDInvalid())],
    ids=["sick", "changing"],
)
def test_a_module_that_does_not_list_its_slots_is_named_as_the_reason(
    answers: tuple[PKCS11Error, ...],
) -> None:
    with pytest.raises(HsmFailure, match="the module does not list its slots"):
        select_token(module_that_lists(*answers), TokenSelect(label="kernel"))
