"""Messages between client and relay: what is sent comes back, and rubbish is an error without its bytes."""

from __future__ import annotations

import pytest

from queueing.broker.hindrance_values import Hindrance
from queueing.broker.job_values import QueuedState, QueuePosition
from queueing.broker.submissions import Receipt, Receipts, RemainingCapacity, SubmitStatus
from queueing.client.delivery import relay_messages as messages
from queueing.client.delivery.queue_access import QueueWait
from queueing.errors import EnvelopeMalformed, LimitBacklog

ROOM = RemainingCapacity(backlog_digests=5, backlog_bytes=None, budget_digests=0)
RECEIPTS = Receipts(
    [
        Receipt(SubmitStatus.ACCEPTED),
        Receipt(SubmitStatus.DONE, b"result", confirmed=False),
        Receipt(SubmitStatus.REFUSED, refusal=LimitBacklog("full", retry_after_s=2.5)),
    ],
    ROOM,
)


def test_receipts_come_back_as_redis_gave_them() -> None:
    """With results, refusals, and the capacity left."""
    raw = messages.encoded(messages.SubmitAnswer.of(RECEIPTS))
    found = messages.decoded(raw, messages.SubmitAnswer).receipts()
    assert found.room == ROOM
    assert found[:2] == RECEIPTS[:2]
    refusal = found[2].refusal
    assert isinstance(refusal, LimitBacklog)
    assert (refusal.message, refusal.retry_after_s) == ("full", 2.5)


@pytest.mark.parametrize(
    "state", [QueuedState(b"r", has_job=False, due_ms=None, leased=False), QueuedState(None, True, 1.5, True)]
)
def test_states_come_back(state: QueuedState) -> None:
    """Of a job that is done, and of one that a worker has."""
    raw = messages.encoded([messages.JobStateMessage.of(state)])
    assert [each.state() for each in messages.decoded(raw, list[messages.JobStateMessage])] == [state]


@pytest.mark.parametrize("retry_in_s", [None, 2.5])
@pytest.mark.parametrize("hindrance", [None, Hindrance(host="", drained=("",), log_share_used=True)])
def test_a_reason_to_wait_comes_back(hindrance: Hindrance | None, retry_in_s: float | None) -> None:
    """With what hinders the tenant, or without."""
    position = QueuePosition(queued=2, in_work=1, ahead=None, retry_in_s=retry_in_s)
    raw = messages.encoded(messages.WaitingAnswer.of(QueueWait(position, hindrance)))
    assert messages.decoded(raw, messages.WaitingAnswer).wait() == QueueWait(position, hindrance)


@pytest.mark.parametrize(
    "raw",
    [b"", b"\xc1", b"\x91" * 100_000, b"\xdd\xff\xff\xff\xff", b"\x92\xa4acme", b"\xa3\xff\xfe\xfd", b"{}"],
    ids=["nothing", "no msgpack", "brackets", "a promise", "half", "no UTF-8", "JSON"],
)
@pytest.mark.parametrize("kind", [messages.SubmitRequest, messages.PollRequest, messages.CancelRequest])
def test_rubbish_is_malformed(raw: bytes, kind: type[object]) -> None:
    """The error is a sentence, and has no part of the bytes."""
    with pytest.raises(EnvelopeMalformed, match="cannot be read") as caught:
        messages.decoded(raw, kind)
    assert "acme" not in str(caught.value)


def test_a_value_that_is_none_of_those_that_may_be_is_not_repeated() -> None:
    """The place of it is told."""
    raw = messages.encoded(["acme", [[b"x", "secret - at text", False]]])
    with pytest.raises(EnvelopeMalformed) as caught:
        messages.decoded(raw, messages.SubmitRequest)
    assert caught.value.message == "the message cannot be read: Invalid enum value - at `$[1][0][1]`"
