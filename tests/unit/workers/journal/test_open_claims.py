"""Open claims of a log: open from the first record of a claim to its end."""

from __future__ import annotations

import pytest

from tests.unit.workers.journal.test_recovery import intent, outcome, released, returned, unknown
from workers.journal.open_claims import OpenClaims
from workers.journal.records import OpenedRecord, Record


def test_a_claim_keeps_the_segment_in_which_it_began() -> None:
    """An outcome in a later segment does not move it."""
    claims = OpenClaims()
    claims.apply(intent(b"a"), 3)
    claims.apply(outcome(b"a"), 5)
    assert (len(claims), claims.first(7)) == (1, 3)


@pytest.mark.parametrize("end", [released(b"a"), returned(b"a"), unknown(b"a")])
def test_a_claim_ends_with_its_release_return_or_closing(end: Record) -> None:
    """Without open claims the present segment is the first one that matters."""
    claims = OpenClaims()
    claims.apply(intent(b"a"), 3)
    claims.apply(end, 4)
    assert (len(claims), claims.first(7)) == (0, 7)


def test_the_head_of_a_segment_opens_and_ends_nothing() -> None:
    """``OpenedRecord`` belongs to no claim."""
    claims = OpenClaims()
    claims.apply(intent(b"a"), 3)
    claims.apply(OpenedRecord(1, 3), 4)
    assert (len(claims), claims.first(7)) == (1, 3)
