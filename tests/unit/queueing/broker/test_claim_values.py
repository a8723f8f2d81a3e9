"""Values of a claim: the arguments of the script, and its answer read by name."""

from __future__ import annotations

import itertools

import pytest
from redis.exceptions import ResponseError

from queueing.broker.claim_values import ClaimRequest, decode_claim
from queueing.redis.errors import AnswerMalformed

NOW_MS = 1_700_000_000_000


def answer_with(
    *jobs: list[object], excess: int = 0, budget_left: int = -1, isolated: int = 0
) -> list[object]:
    """An answer of lua/claim.lua, in its order."""
    return [NOW_MS, b"7", 1, [*jobs], excess, 1500, b"rate", budget_left, 64, 4096, 2, 3, isolated]


def job(name: bytes, *, payload: bytes | None = b"payload") -> list[object]:
    return [name, b"1700", 2, payload, 64, 2500, 1]


def test_a_claim_is_read_in_units() -> None:
    """Milliseconds become seconds, thousandths become cost units, and the lease is owner and fence."""
    result = decode_claim("acme", "h1.1.aa", answer_with(job(b"a")))
    (claimed,) = result.jobs
    assert (claimed.tenant, claimed.job_id, claimed.lease) == ("acme", b"a", b"h1.1.aa:7")
    assert (claimed.attempt, claimed.crashes, claimed.charged_digests, claimed.charged_cost) == (
        2,
        1,
        64,
        2.5,
    )
    assert (result.now_ms, result.more, result.wait_s, result.limited) == (NOW_MS, True, 1.5, "rate")
    assert (result.backlog_digests, result.backlog_bytes, result.refused, result.replaced) == (64, 4096, 2, 3)


def test_the_last_jobs_of_an_answer_are_the_excess() -> None:
    """So many as the script says, and in its order."""
    result = decode_claim("acme", "h1", answer_with(job(b"a"), job(b"b"), job(b"c"), excess=2))
    assert [each.job_id for each in result.jobs] == [b"a"]
    assert [each.job_id for each in result.excess] == [b"b", b"c"]


def test_a_job_whose_key_is_gone_has_no_payload() -> None:
    """None, which is not the same as empty bytes."""
    assert decode_claim("acme", "h1", answer_with(job(b"a", payload=None))).jobs[0].payload is None


@pytest.mark.parametrize("said, left", [(-1, None), (0, 0), (10, 10)])
def test_a_tenant_without_a_budget_has_none_left(said: int, left: int | None) -> None:
    """-1 is the script's word for no budget; 0 is a budget that is used up."""
    assert decode_claim("acme", "h1", answer_with(budget_left=said)).budget_left == left


@pytest.mark.parametrize("said, alone, suspect_next", [(0, False, False), (1, True, False), (2, False, True)])
def test_a_suspect_is_taken_alone_or_is_next(said: int, *, alone: bool, suspect_next: bool) -> None:
    """A suspect that was taken is the only job; one that is next waits until the worker has no other."""
    result = decode_claim("acme", "h1", answer_with(job(b"a"), isolated=said))
    assert (result.jobs[0].alone, result.suspect_next) == (alone, suspect_next)


OTHER_SHAPES: dict[str, object] = {
    "nothing": None,
    "a word": b"OK",
    "too short": [NOW_MS, b"7"],
    "a job that is none": answer_with([b"a"]),
    "text for a number": answer_with([b"a", b"1700", b"2", b"payload", 64, 2500, 1]),
    "an error inside": answer_with([b"a", b"1700", 2, ResponseError("WRONGTYPE"), 64, 2500, 1]),
    "more in excess than there are": answer_with(job(b"a"), excess=2),
    "less than nothing in excess": answer_with(job(b"a"), excess=-1),
    "an unknown limit": [*answer_with()[:6], b"\xff", *answer_with()[7:]],
}


@pytest.mark.parametrize("answer", OTHER_SHAPES.values(), ids=OTHER_SHAPES)
def test_an_answer_of_another_shape_is_an_error_of_redis(answer: object) -> None:
    """A script of another version is not read by chance, and nothing else than an error of Redis is raised."""
    with pytest.raises(AnswerMalformed, match="another shape"):
        decode_claim("acme", "h1", answer)


def test_what_is_owed_is_sent_in_thousandths() -> None:
    """The script counts in integers; a credit goes with its time, and is rounded down."""
    request = ClaimRequest(
        tenant="acme",
        most_jobs=10,
        most_digests=640,
        owed_cost=0.5,
        owed_digests=3,
        credit_cost=0.7009,
        credit_digests=4,
        credit_at_ms=99,
    )
    args = request.script_args()
    assert args[:2] == (10, 640)
    assert (500, 3) in itertools.pairwise(args)
    place = args.index(700)
    assert args[place : place + 3] == (700, 4, 99)
