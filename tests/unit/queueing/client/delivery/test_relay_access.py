"""Access through a relay: requests of bounded size, and every refusal of a whole request as an outage that is waited out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import msgspec
import pytest

from queueing.broker.hindrance_values import Hindrance
from queueing.broker.job_values import JobState, QueuePosition
from queueing.broker.submissions import Receipt, Receipts, Submission, SubmitStatus
from queueing.client.delivery import relay_messages as messages
from queueing.client.delivery.queue_access import PublishedDirectory, QueueWait
from queueing.client.delivery.relay_access import RelayAccess
from queueing.client.delivery.relay_connection import MOST_REFUSAL_BYTES, NoRelay, RelayConnection, refusal_of
from queueing.errors import (
    ConfigError,
    EnvelopeMalformed,
    Invalid,
    PolicyDenied,
    QueueUnavailable,
    SigningError,
)
from tests.support.fakes.submitting import NO_CAP, submission

ACCEPTED = Receipt(SubmitStatus.ACCEPTED)


@dataclass
class Connection:
    """Answers of a relay, in order: bytes, or an error."""

    answers: list[bytes | SigningError] = field(default_factory=list)
    sent: list[tuple[str, bytes]] = field(default_factory=list)

    async def post(self, path: str, body: bytes, *, wait_s: float = 0.0) -> bytes:
        self.sent.append((path, body))
        return self._next()

    async def get(self, path: str) -> bytes:
        self.sent.append((path, b""))
        return self._next()

    def _next(self) -> bytes:
        answer = self.answers.pop(0)
        if isinstance(answer, SigningError):
            raise answer
        return answer


@pytest.fixture
def connection() -> Connection:
    return Connection()


@pytest.fixture
def access(connection: Connection) -> RelayAccess:
    return RelayAccess(cast("RelayConnection", connection), tenant="acme")


def accepted(count: int) -> bytes:
    return messages.encoded(messages.SubmitAnswer.of(Receipts([ACCEPTED] * count, NO_CAP)))


def of_size(job_id: str, size_bytes: int) -> Submission:
    made = submission(job_id)
    return Submission(
        job_id=job_id, envelope=made.envelope, sealed=bytes(size_bytes), content=b"", reply_id=""
    )


async def test_many_envelopes_are_sent_in_requests_that_a_relay_reads(
    connection: Connection, access: RelayAccess
) -> None:
    """At most 1 MiB each; the receipts come back in order."""
    connection.answers = [accepted(5), accepted(2)]
    receipts = await access.submit([of_size(str(number), 190_000) for number in range(7)])
    assert [each.accepted for each in receipts] == [SubmitStatus.ACCEPTED] * 7
    assert all(len(body) <= messages.MOST_BODY_BYTES for _, body in connection.sent)
    connection.answers = [accepted(128), accepted(2)]
    assert len(await access.submit([submission(str(number)) for number in range(130)])) == 130


@pytest.mark.parametrize(
    "answer",
    [
        accepted(1),
        b"\x91" * 1000,
        QueueUnavailable("away"),
        PolicyDenied("no"),
        EnvelopeMalformed("other version"),
    ],
    ids=["another number", "rubbish", "away", "denied", "malformed"],
)
async def test_a_submit_that_failed_as_a_whole_is_an_outage_of_the_queue(
    connection: Connection, access: RelayAccess, answer: bytes | SigningError
) -> None:
    """The submitter retries an outage until the caller's deadline, as with Redis; the access itself sends once."""
    connection.answers = [answer]
    with pytest.raises(QueueUnavailable) as caught:
        await access.submit([submission("a"), submission("b")])
    assert caught.value.retryable
    assert len(connection.sent) == 1


async def test_the_time_after_which_a_shed_client_comes_back_is_kept(
    connection: Connection, access: RelayAccess
) -> None:
    """The submitter waits at least so long."""
    connection.answers = [QueueUnavailable("shed", retry_after_s=4.5)]
    with pytest.raises(QueueUnavailable) as shed:
        await access.results(["a"], wait_ms=0, check=False)
    assert shed.value.retry_after_s == 4.5


async def test_a_tenant_that_the_relay_does_not_serve_is_a_mistake_of_the_file(
    connection: Connection, access: RelayAccess
) -> None:
    """The client says so at once instead of waiting."""
    connection.answers = [PolicyDenied("this relay does not serve this tenant")]
    with pytest.raises(ConfigError, match="does not serve this tenant"):
        await access.directory()


async def test_directory_time_and_state_are_passed_on(connection: Connection, access: RelayAccess) -> None:
    """None where no directory is published, or where Redis does not tell its time."""
    answers = ([b"signed", 12_344], [None, None], 12_345)
    connection.answers = [msgspec.msgpack.encode(each) for each in answers]
    assert [await access.directory(), await access.directory(), await access.time_ms()] == [
        PublishedDirectory(b"signed", 12_344),
        PublishedDirectory(None, None),
        12_345,
    ]
    connection.answers = [msgspec.msgpack.encode([[None, True, 1.0, True]])]
    assert (await access.status("a")).state is JobState.RUNNING


async def test_rubbish_from_a_relay_is_an_outage(connection: Connection, access: RelayAccess) -> None:
    """Of another shape, of another length, or nothing."""
    for raw in (b"", b"\xc0", b"\x90", msgspec.msgpack.encode([[None, True, 1.0, True]] * 2)):
        connection.answers = [raw]
        with pytest.raises(QueueUnavailable):
            await access.look_up(["a"])


async def test_a_place_in_the_queue_is_passed_on(connection: Connection, access: RelayAccess) -> None:
    """With what hinders the tenant; of many jobs the first 128 are asked for."""
    connection.answers = [msgspec.msgpack.encode([3, 125, 7, None, {"host": "", "failing": [""]}])]
    found = await access.queue_wait([f"job-{number}" for number in range(500)])
    position = QueuePosition(queued=3, in_work=125, ahead=7, retry_in_s=None)
    assert found == QueueWait(position, Hindrance(host="", failing=("",)))
    path, body = connection.sent[0]
    asked = messages.decoded(body, messages.IdsRequest)
    assert (path, asked.tenant, len(asked.job_ids)) == (messages.WAITING, "acme", 128)


HINDRANCE = {"host": "h", "drained": ["t"]}


@pytest.mark.parametrize(
    "answer",
    [
        *([], [1], [1, 0, 0, None], [1, 0, 0, None, None, "more"], "text", 7, None, {}),
        *([-1, 0, 0, None, None], [1, -1, 0, None, None], [1, 0, -1, None, None], [1, 0, 0, -0.5, None]),
        *([2**63, 0, 0, None, None], [1, 0, 2**63, None, None], [1, 0, None, 1e300, None]),
        *([1, 0, None, float("nan"), None], [1, 0, None, float("inf"), None], [1, 0, None, "soon", None]),
        *(
            [True, 0, 0, None, None],
            ["1", 0, 0, None, None],
            [[1], 0, 0, None, None],
            [None, 0, 0, None, None],
        ),
        *([2, 0, 0, None, None], [1, 1, 0, None, None]),
        *(
            [1, 0, 0, None, "drained"],
            [1, 0, 0, None, {"drained": ["t"]}],
            [1, 0, 0, None, {**HINDRANCE, "host": 7}],
        ),
        *(
            [1, 0, 0, None, {**HINDRANCE, "host": "h" * 257}],
            [1, 0, 0, None, {**HINDRANCE, "drained": ["t"] * 17}],
        ),
    ],
    ids=str,
)
async def test_an_answer_that_is_no_place_costs_the_sentence_alone(
    connection: Connection, access: RelayAccess, answer: object
) -> None:
    """Missing, negative, huge, of another type, or of more jobs than were asked for: the client says what it knows itself."""
    connection.answers = [msgspec.msgpack.encode(answer)]
    assert await access.queue_wait(["a"]) is None


@pytest.mark.parametrize(
    "raw",
    [b"", b"\xc1", b"\x91" * 100_000, b"\xdd\xff\xff\xff\xff", b"\x95\x01\x00\x00\xc0\x81\xa4host\xa1\xff"],
    ids=["nothing", "no msgpack", "brackets", "a promise", "no UTF-8"],
)
async def test_rubbish_instead_of_a_place_costs_the_sentence_alone(
    connection: Connection, access: RelayAccess, raw: bytes
) -> None:
    connection.answers = [raw]
    assert await access.queue_wait(["a"]) is None


@pytest.mark.parametrize(
    "answer",
    [
        refusal_of(404, b'{"code":"invalid","message":"there is no POST of this path"}'),
        refusal_of(404, b"<html>not found</html>"),
        PolicyDenied("no"),
        EnvelopeMalformed("other version"),
    ],
    ids=["earlier relay", "proxy", "denied", "malformed"],
)
async def test_a_relay_that_does_not_tell_places_leaves_the_client_as_it_was(
    connection: Connection, access: RelayAccess, answer: SigningError
) -> None:
    connection.answers = [answer]
    assert await access.queue_wait(["a"]) is None


async def test_a_relay_that_is_away_is_the_reason_to_wait(
    connection: Connection, access: RelayAccess
) -> None:
    connection.answers = [QueueUnavailable("cannot reach the relay: refused")]
    with pytest.raises(QueueUnavailable, match="cannot reach the relay"):
        await access.queue_wait(["a"])


def test_a_refusal_is_the_error_that_it_names() -> None:
    assert isinstance(refusal_of(404, b'{"code":"invalid","message":"no"}'), Invalid)


@pytest.mark.parametrize(
    "answer",
    [
        *(b"", b"[]", b"{}", b'{"code":7}', b'{"code":"invalid","message":"\xff"}', b"[" * 10_000),
        b'{"code":"invalid","message":"%s"}' % (b"x" * MOST_REFUSAL_BYTES),
    ],
    ids=["nothing", "list", "no code", "number", "no UTF-8", "brackets", "long"],
)
def test_a_refusal_that_is_none_is_of_no_relay(answer: bytes) -> None:
    """Nor one that is longer than any: it would be shown to a person."""
    refusal = refusal_of(500, answer)
    assert isinstance(refusal, NoRelay)
    assert refusal.message == "the address answers HTTP 500, and not as a relay does"
