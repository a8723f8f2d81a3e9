"""Fault table in a real lane: each return value, from each call of a signature, is followed by its action."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
from msgspec.structs import replace

from bench.hsm.simhsm import read_log, write_rules
from queueing.protocol.jobs import WireError
from tests.support.farm.forging import Forger
from tests.support.rig.lane_handle import LaneHandle, spec_for
from tests.support.rig.rig import MakeRig, Rig
from tests.support.rig.shared_rig import behind_simhsm
from workers.config.loading import load_configuration
from workers.config.settings import TokenSettings
from workers.config.token_tables import LOOP_VARIABLE
from workers.hsm.faults import FAULTS, NO_CODE, VENDOR_DEFINED, Action, failure_for_code
from workers.lanes.exit_codes import LaneExit
from workers.lanes.protocol import EnvelopeSlice, LaneFailure, SliceOutcome

CALLS = (
    ("native", "C_SignInit"), ("native", "C_Sign"),
    ("python", "C_SignInit"), ("python", "C_SignLength"), ("python", "C_Sign"),
)  # fmt: skip
"""Loops of a lane, and what each calls; the native one asks for no length."""

DIGESTS, BROKEN = 12, 5
UNNAMED = (0x3FF, VENDOR_DEFINED, VENDOR_DEFINED + 0x123, 0xFFFFFFFF)

CODES = sorted({row.code for row in FAULTS if row.code != NO_CODE} | set(UNNAMED))
"""All that PKCS#11 names, and some that it does not."""

ONE_OF_EACH = (0x031, 0x030, 0x082, 0x032, 0x021, 0x0A0, VENDOR_DEFINED)
"""By action: retry, drop session, replace lane, open circuit, permanent, a PIN, a vendor's own."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Result of a chunk: its outcome, or the failure that the lane reported and its exit code."""

    outcome: SliceOutcome | None
    last_word: LaneFailure | None = None
    exit_code: int | None = None


async def sign_with_fault(rig: Rig, loop: str, call: str, code: int) -> Answer:
    """A chunk in whose middle the module returns this value once."""
    write_rules(rig.directory / "acme.faults", [])
    item = EnvelopeSlice(
        Forger(key=rig.keys["acme"]).seal(digests=tuple(os.urandom(32) for _ in range(DIGESTS))), 0, DIGESTS
    )
    async with LaneHandle(spec_for(rig, "acme", sessions=1)) as lane:
        assert lane.ready.loop.partition(":")[0] == loop
        assert lane.ready.tenant_epoch == load_configuration(rig.config()).tenants["acme"].epoch
        write_rules(rig.directory / "acme.faults", [f"{call} rv=0x{code:x} nth={BROKEN}"])
        await asyncio.sleep(0.02)  # rules count within 10 ms (bench.hsm.simhsm.write_rules)
        try:
            return Answer((await lane.sign([item])).items[0])
        except asyncio.IncompleteReadError:
            return Answer(None, lane.failing, await lane.exit_code())


def errors_of(outcome: SliceOutcome) -> list[WireError]:
    return list(outcome.errors.values())


def obeyed(answer: Answer, code: int) -> bool:
    """Whether the lane took the action of the table."""
    failure = failure_for_code(code)
    outcome = answer.outcome
    if failure.action in {Action.RETRY, Action.DROP_SESSION}:
        return outcome is not None and not outcome.errors and all(outcome.signatures)
    if failure.action is Action.PERMANENT:
        if outcome is None or outcome.error is not None or len(outcome.errors) != 1:
            return False
        return (
            not errors_of(outcome)[0].error().retryable and sum(map(bool, outcome.signatures)) == DIGESTS - 1
        )
    word = answer.last_word
    wanted = LaneExit.REPLACE
    if failure.action is Action.OPEN_CIRCUIT:
        wanted = LaneExit.PIN if failure.pin_failure else LaneExit.CIRCUIT
    return (
        word is not None
        and (word.code_name, word.action, word.pin_failure)
        == (failure.code_name, failure.action.value, failure.pin_failure)
        and answer.exit_code == wanted
    )


async def disobeyed(rig: Rig, loop: str, call: str, codes: Sequence[int]) -> list[tuple[str, Answer]]:
    """The return values of this call after which the lane did something else."""
    wrong = []
    for code in codes:
        answer = await sign_with_fault(rig, loop, call, code)
        if not obeyed(answer, code):
            wrong.append((f"0x{code:x} {failure_for_code(code).action}", answer))
    return wrong


def with_loop(
    wrap: Callable[[TokenSettings], TokenSettings], loop: str
) -> Callable[[TokenSettings], TokenSettings]:
    """A ``Rig.wrap`` after which the lane signs by this loop."""

    def both(settings: TokenSettings) -> TokenSettings:
        wrapped = wrap(settings)
        return replace(wrapped, environment={**wrapped.environment, LOOP_VARIABLE: loop})

    return both


@pytest.mark.parametrize("loop, call", CALLS)
async def test_a_lane_does_what_the_table_says(make_rig: MakeRig, loop: str, call: str) -> None:
    """Signs all the same, refuses one digest, ends for a new lane, or leaves the token alone; one value of each kind."""
    rig = make_rig(redis=False)
    rig.wrap = with_loop(behind_simhsm(rig.directory), loop)
    assert await disobeyed(rig, loop, call, ONE_OF_EACH) == []
    failed = [record for record in read_log(rig.directory / "acme.simhsm.log") if record.rv]
    assert len(failed) == (len(ONE_OF_EACH) if call == "C_Sign" else 0), "one failure each, at that call"


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("loop, call", CALLS)
async def test_every_value_is_followed_by_the_action_of_the_table(
    make_rig: MakeRig, loop: str, call: str
) -> None:
    """All values of the standard, and vendor-defined ones."""
    rig = make_rig(redis=False)
    rig.wrap = with_loop(behind_simhsm(rig.directory), loop)
    assert await disobeyed(rig, loop, call, CODES) == []
