"""Lanes that end: one job's doing, or the token's."""

from __future__ import annotations

from workers.lanes.supervisor.crash_blame import ENDS_IN_A_ROW, TokenBlame


def ended(times: int) -> TokenBlame:
    suspicion = TokenBlame()
    for _ in range(times):
        suspicion.lane_ended()
    return suspicion


def test_as_many_ends_in_a_row_speak_against_the_token() -> None:
    """Not one fewer."""
    assert not ended(ENDS_IN_A_ROW - 1).of_token
    assert ended(ENDS_IN_A_ROW).of_token


def test_a_signature_in_between_clears_the_token() -> None:
    """The row begins anew."""
    suspicion = ended(ENDS_IN_A_ROW - 1)
    suspicion.signed()
    suspicion.lane_ended()
    assert not suspicion.of_token


def test_after_a_pause_the_token_has_one_chance_until_it_signs() -> None:
    """An outage costs one lane at each attempt; a token that has signed has all its chances again."""
    suspicion = ended(ENDS_IN_A_ROW)
    suspicion.left_alone()
    states = [suspicion.of_token]
    suspicion.lane_ended()
    states.append(suspicion.of_token)
    suspicion.signed()
    suspicion.lane_ended()
    states.append(suspicion.of_token)
    assert states == [False, True, False]


def test_one_job_may_be_blamed_until_the_token_signs() -> None:
    """A pause is no signature."""
    suspicion = ended(3)
    assert suspicion.may_blame()
    assert not suspicion.of_token
    assert not suspicion.may_blame()
    suspicion.left_alone()
    assert not suspicion.may_blame()
    suspicion.signed()
    assert suspicion.may_blame()
