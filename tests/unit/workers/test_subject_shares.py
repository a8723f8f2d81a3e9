"""Shares in places: neither a tenant nor one of its subjects takes all, and each is served in the end."""

from __future__ import annotations

import pytest

from workers.subject_shares import Subject, SubjectShares

APP = ("acme", "ci", "repo:acme/app")
OTHER = ("acme", "ci", "repo:acme/other")
GLOBEX = ("globex", "ci", "repo:acme/app")


def taken(shares: SubjectShares, *subjects: Subject) -> int:
    """Places that these subjects take by turns, until none of them may."""
    count, going = 0, True
    while going:
        going = False
        for subject in subjects:
            if shares.may_take(subject):
                shares.take(subject)
                count, going = count + 1, True
    return count


def test_a_subject_alone_has_three_quarters_of_three_quarters() -> None:
    """The rest is free for its tenant's other subjects, and for other tenants."""
    shares = SubjectShares(64)
    assert [taken(shares, each) for each in (APP, OTHER, GLOBEX)] == [36, 9, 12]


def test_many_subjects_have_what_their_tenant_may_have() -> None:
    """Three quarters of all; subjects that come by turns have as many each."""
    shares = SubjectShares(64)
    assert taken(shares, *(("acme", "ci", str(number)) for number in range(64))) == 48
    assert taken(shares, GLOBEX) > 0


@pytest.mark.parametrize("whole", [1, 2, 3, 5, 8])
def test_the_last_free_place_may_be_the_first_of_a_tenant(whole: int) -> None:
    """However few there are."""
    shares = SubjectShares(whole)
    for number in range(whole):
        assert shares.may_take((f"t{number}", "ci", "s"))
        shares.take((f"t{number}", "ci", "s"))
    assert not shares.may_take(APP)


def test_what_is_given_back_is_free_and_leaves_nothing() -> None:
    """Nor where more was taken than there is, as by those who were counted before."""
    shares = SubjectShares(8)
    for _ in range(20):
        shares.take(APP)
    assert not shares.may_take(GLOBEX)
    for _ in range(20):
        shares.give_back(APP)
    assert taken(shares, GLOBEX) == taken(SubjectShares(8), GLOBEX)
    for _ in range(taken(SubjectShares(8), GLOBEX)):
        shares.give_back(GLOBEX)
    assert [shares._taken, *shares._of_tenant, *shares._of_subject] == [0]
