"""Operations of a relay over a queue that the test plays: one wrong envelope costs its own place, and ids stay within a tenant."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Never, cast

import pytest
from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from queueing.broker.hindrance_values import Hindrance
from queueing.broker.job_values import CancelStatus, QueuedState, QueuePosition
from queueing.broker.submissions import Receipt, Receipts, Submission, SubmitStatus
from queueing.client.delivery import relay_messages as messages
from queueing.client.delivery.queue_access import PublishedDirectory, QueueWait
from queueing.errors import EnvelopeMalformed, LimitBacklog, PolicyDenied
from queueing.protocol.client_keys import ClientKey
from queueing.protocol.envelope import Envelope, seal
from queueing.protocol.jobs import job_id_of
from queueing.protocol.priorities import Priority
from tests.support.fakes.submitting import NO_CAP, submission
from tests.support.relay.relay_settings import settings
from workers.relay.admission import Admission, Shed
from workers.relay.endpoints import Endpoints, Reply
from workers.relay.tenant_queue import TenantQueue
from workers.relay.waiting import WaitingClient
from workers.telemetry.edge_metrics import RelayMetrics

OURS, THEIRS = "{acme}" + "0" * 32, "{globex}" + "0" * 32
KEY = ClientKey.generate()
ENVELOPE: Envelope = submission("a").envelope
WAIT = QueueWait(
    QueuePosition(queued=1, in_work=0, ahead=7, retry_in_s=None),
    Hindrance(host="sign-3", refused_pins=("acme-1", "acme-2"), failing=("acme-3",)),
)
QUEUED = QueuedState(result=None, has_job=True, due_ms=1.0, leased=False)


class Queue:
    """The tenant ``acme``: answers submits as it is told, then accepts. It is its own access to Redis."""

    tenant = "acme"
    reply_id = "r" * 32
    confirms = False

    def __init__(self) -> None:
        self.submitted: list[Submission] = []
        self.answers: list[Receipt] = []
        self.polled: list[tuple[list[str], float]] = []
        self.looked_up: list[str] = []
        self.result: bytes | None = None
        self.placed: list[list[str]] = []
        self.access = self

    async def submit(self, submissions: Sequence[Submission]) -> Receipts:
        self.submitted += submissions
        answers = self.answers or [Receipt(SubmitStatus.ACCEPTED)] * len(submissions)
        return Receipts(answers[: len(submissions)], NO_CAP)

    async def results(self, job_ids: Sequence[str], *, wait_s: float, check: bool) -> WaitingClient:
        self.polled.append((list(job_ids), wait_s))
        return WaitingClient(job_ids, 0.0)

    async def look_up(self, job_ids: Sequence[str], *, confirmed: bool) -> list[QueuedState]:
        self.looked_up += job_ids
        return [QueuedState(self.result, QUEUED.has_job, QUEUED.due_ms, QUEUED.leased)] * len(job_ids)

    async def cancel(self, client: str, job_ids: Sequence[str], *, now_ms: int) -> list[CancelStatus]:
        del client, now_ms
        return [CancelStatus.CANCELLED] * len(job_ids)

    async def receipts(self, job_ids: Sequence[str]) -> list[bytes | None]:
        self.looked_up += job_ids
        return [self.result] * len(job_ids)

    async def queue_wait(self, job_ids: Sequence[str]) -> QueueWait:
        self.placed.append(list(job_ids))
        return WAIT

    async def directory(self) -> PublishedDirectory:
        return PublishedDirectory(None, None)

    async def time_ms(self) -> int:
        return 0


class SilentAccess:
    """Access to a Redis that takes every command, and answers none. ``asked`` is set by the first one."""

    confirms = False

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def silence(self, *_: object, **__: object) -> Never:
        self.asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    submit = look_up = cancel = receipts = queue_wait = directory = time_ms = silence


class SilentQueue:
    """The tenant ``globex``, whose Redis is silent."""

    tenant = "globex"
    reply_id = "r" * 32

    def __init__(self) -> None:
        self.access = SilentAccess()


class EndpointSetup:
    """Endpoints for the tenant ``acme``, or for these."""

    def __init__(self, others: Mapping[str, SilentQueue] | None = None) -> None:
        self.queue = Queue()
        self.registry = CollectorRegistry()
        queues = {"acme": self.queue, **(others or {})}
        made = settings(**dict.fromkeys(queues))
        self.admission = Admission(made)
        self.endpoints = Endpoints(
            made,
            cast("dict[str, TenantQueue]", queues),
            admission=self.admission,
            metrics=RelayMetrics(self.registry),
        )

    async def submit(self, *sealed: bytes) -> tuple[Reply, list[str]]:
        """The reply, and for each envelope its status or the code of its refusal."""
        envelopes = tuple(messages.SubmittedEnvelope(each, Priority.NORMAL, receipt=False) for each in sealed)
        reply = await self.endpoints.post(
            messages.JOBS, messages.encoded(messages.SubmitRequest("acme", envelopes))
        )
        found = messages.decoded(reply.body, messages.SubmitAnswer).replies
        return reply, [each.refusal.code if each.refusal else each.status.value for each in found]


@pytest.fixture
def setup() -> EndpointSetup:
    return EndpointSetup()


def sealed(**changes: object) -> bytes:
    return seal(replace(ENVELOPE, **changes), KEY)


async def test_a_wrong_envelope_costs_its_own_place_only(setup: EndpointSetup) -> None:
    """Of another tenant, of another service, or no envelope; the others reach the queue, under their own ids."""
    other = bytes(range(16))
    _, found = await setup.submit(
        sealed(), sealed(tenant="globex"), sealed(audience="b"), b"rubbish", sealed(idempotency_key=other)
    )
    assert found == ["accepted", "envelope.audience", "envelope.audience", "envelope.malformed", "accepted"]
    assert [each.job_id for each in setup.queue.submitted] == [
        job_id_of("acme", ENVELOPE.idempotency_key),
        job_id_of("acme", other),
    ]
    assert {each.reply_id for each in setup.queue.submitted} == {setup.queue.reply_id}


async def test_limits_that_refuse_all_are_told_with_a_time(setup: EndpointSetup) -> None:
    """With one envelope accepted, the answer is an ordinary one."""
    full = Receipt(SubmitStatus.REFUSED, refusal=LimitBacklog(retry_after_s=7.0))
    setup.queue.answers = [full, full]
    reply, _ = await setup.submit(sealed(), sealed())
    assert reply.limited_s == 7.0
    setup.queue.answers = [full, Receipt(SubmitStatus.ACCEPTED)]
    reply, found = await setup.submit(sealed(), sealed())
    assert reply.limited_s is None
    assert found == ["limit.backlog", "accepted"]


async def test_results_in_an_answer_are_bounded(setup: EndpointSetup) -> None:
    """A job whose result does not fit is done, and is polled for."""
    setup.queue.answers = [Receipt(SubmitStatus.DONE, bytes(700_000))] * 2
    reply, found = await setup.submit(sealed(), sealed())
    first, second = messages.decoded(reply.body, messages.SubmitAnswer).replies
    assert found == ["done", "done"]
    assert (len(first.result or b""), second.result) == (700_000, None)


async def test_ids_of_another_tenant_reach_no_redis(setup: EndpointSetup) -> None:
    """They are unknown, or the request is refused."""
    poll = messages.PollRequest("acme", (OURS, THEIRS, "arq:job:x"), 1000)
    reply = await setup.endpoints.post(messages.RESULTS, messages.encoded(poll))
    assert set(messages.decoded(reply.body, messages.PollAnswer).unknown) == {THEIRS, "arq:job:x"}
    assert setup.queue.polled == [([OURS], 0.0)], "what is known already is not waited for"
    states = messages.encoded(messages.IdsRequest("acme", (THEIRS, OURS)))
    found = messages.decoded(
        (await setup.endpoints.post(messages.STATES, states)).body, list[messages.JobStateMessage]
    )
    assert [each.state().lost for each in found] == [True, False]
    assert setup.queue.looked_up == [OURS]
    for path, message in (
        (messages.CANCEL, messages.CancelRequest("acme", "ci", (THEIRS,))),
        (messages.RECEIPTS, messages.IdsRequest("acme", (THEIRS,))),
    ):
        with pytest.raises(EnvelopeMalformed):
            await setup.endpoints.post(path, messages.encoded(message))


async def waiting(setup: EndpointSetup, *job_ids: str) -> QueueWait:
    """Answer to the question why these jobs wait."""
    request = messages.encoded(messages.IdsRequest("acme", job_ids))
    reply = await setup.endpoints.post(messages.WAITING, request)
    return messages.decoded(reply.body, messages.WaitingAnswer).wait()


async def test_a_client_that_waits_is_told_its_place_and_what_hinders_without_names(
    setup: EndpointSetup,
) -> None:
    """Who asks may be a stranger: hosts and tokens stay unnamed."""
    found = await waiting(setup, OURS)
    assert found.position == WAIT.position
    assert str(found.hindrance) == (
        "a host signs nothing for this tenant: a token refused its PIN, a token fails (the operator has to act)"
    )


async def test_only_jobs_of_the_tenant_have_a_place(setup: EndpointSetup) -> None:
    """Redis is asked for each of them once, and for none where there is none: then nothing is told of the queue."""
    await waiting(setup, THEIRS, OURS, "arq:job:x", OURS, "")
    assert setup.queue.placed == [[OURS]]
    nothing = QueueWait(QueuePosition(queued=0, in_work=0, ahead=None, retry_in_s=None), None)
    assert [await waiting(setup), await waiting(setup, THEIRS)] == [nothing, nothing]
    assert setup.queue.placed == [[OURS]]


@pytest.mark.parametrize(
    "raw",
    [
        messages.encoded(["acme", [OURS] * (messages.MOST_IDS + 1)]),
        messages.encoded(["acme", ["x" * 129]]),
        messages.encoded(["acme", OURS]),
        messages.encoded(["acme", [[OURS]]]),
        messages.encoded(["acme", [b"{acme}\xff"]]),
        messages.encoded(["acme", [OURS], "more"]),
        b'["acme", []]',
        b"\x92\xa4acme" + b"\x91" * 100_000,
        b"\x92\xa4acme\x91\xa7{acme}\xff",
    ],
    ids=["many", "long", "one", "nested", "bytes", "more", "JSON", "brackets", "no UTF-8"],
)
async def test_a_question_for_places_that_is_none_reaches_no_redis(setup: EndpointSetup, raw: bytes) -> None:
    with pytest.raises(EnvelopeMalformed):
        await setup.endpoints.post(messages.WAITING, raw)
    assert not setup.queue.placed


async def test_a_tenant_that_is_not_served_is_denied(setup: EndpointSetup) -> None:
    """By each operation."""
    ids = messages.encoded(messages.IdsRequest("globex", (THEIRS,)))
    envelope = messages.SubmittedEnvelope(sealed(tenant="globex"), Priority.NORMAL, receipt=False)
    posts = {
        messages.JOBS: messages.encoded(messages.SubmitRequest("globex", (envelope,))),
        messages.RESULTS: messages.encoded(messages.PollRequest("globex", (THEIRS,), 1000)),
        messages.STATES: ids,
        messages.CANCEL: messages.encoded(messages.CancelRequest("globex", "ci", (THEIRS,))),
        messages.RECEIPTS: ids,
        messages.WAITING: ids,
    }
    gets = {messages.DIRECTORY, messages.TIME}
    assert posts.keys() | gets == setup.endpoints.paths
    for path, body in posts.items():
        with pytest.raises(PolicyDenied):
            await setup.endpoints.post(path, body)
    for path in gets:
        with pytest.raises(PolicyDenied):
            await setup.endpoints.get(path, "globex")


Ask = Callable[[Endpoints, str], Awaitable[Reply]]


def posted(path: str, message: Callable[[str], object]) -> Ask:
    return lambda endpoints, tenant: endpoints.post(path, messages.encoded(message(tenant)))


def submit_of(tenant: str) -> messages.SubmitRequest:
    each = messages.SubmittedEnvelope(sealed(tenant=tenant), Priority.NORMAL, receipt=False)
    return messages.SubmitRequest(tenant, (each,))


def job_of(tenant: str) -> str:
    return f"{{{tenant}}}" + "0" * 32


ASKING: dict[str, Ask] = {
    messages.JOBS: posted(messages.JOBS, submit_of),
    messages.STATES: posted(messages.STATES, lambda name: messages.IdsRequest(name, (job_of(name),))),
    messages.CANCEL: posted(
        messages.CANCEL, lambda name: messages.CancelRequest(name, "ci", (job_of(name),))
    ),
    messages.RECEIPTS: posted(messages.RECEIPTS, lambda name: messages.IdsRequest(name, (job_of(name),))),
    messages.WAITING: posted(messages.WAITING, lambda name: messages.IdsRequest(name, (job_of(name),))),
    messages.DIRECTORY: lambda endpoints, tenant: endpoints.get(messages.DIRECTORY, tenant),
    messages.TIME: lambda endpoints, tenant: endpoints.get(messages.TIME, tenant),
}


@pytest.mark.parametrize("path", ASKING)
async def test_requests_of_a_tenant_whose_redis_is_silent_leave_room_for_others(path: str) -> None:
    """Of two places it gets one; its next request is told to come later, and another tenant's is answered."""
    silent = SilentQueue()
    made = EndpointSetup({"globex": silent})
    ask = ASKING[path]
    first, second = (asyncio.ensure_future(ask(made.endpoints, "globex")) for _ in range(2))
    try:
        await silent.access.asked.wait()
        assert (await ask(made.endpoints, "acme")).body
        assert (first.done(), second.done()) == (False, True)
        with pytest.raises(Shed):
            second.result()
    finally:
        first.cancel()
        second.cancel()
        await asyncio.wait([first, second])
    assert made.admission.requests == 0


@pytest.mark.parametrize(
    "path", [messages.JOBS, messages.STATES, messages.CANCEL, messages.RECEIPTS, messages.WAITING]
)
@pytest.mark.parametrize("tenants, full", [(1, "requests"), (2, "tenant_requests")])
async def test_of_a_message_that_is_shed_nothing_but_the_tenant_is_decoded(
    path: str, tenants: int, full: str
) -> None:
    """A relay that has too much in hand does no work for it; the rest of the message may be anything."""
    made = EndpointSetup({"globex": SilentQueue()} if tenants > 1 else None)
    with contextlib.ExitStack() as stack:
        for _ in range(3 - tenants):
            stack.enter_context(made.admission.request("acme"))
        with pytest.raises(Shed) as shed:
            await made.endpoints.post(path, messages.encoded(["acme", "rubbish"]))
    assert shed.value.cause == full
    with pytest.raises(EnvelopeMalformed):
        await made.endpoints.post(path, messages.encoded(["acme", "rubbish"]))
    assert made.admission.requests == 0


@pytest.mark.parametrize("tenants, full", [(1, "waiting"), (2, "tenant")])
async def test_of_a_poll_that_is_shed_nothing_but_the_tenant_is_decoded(tenants: int, full: str) -> None:
    made = EndpointSetup({"globex": SilentQueue()} if tenants > 1 else None)
    with contextlib.ExitStack() as stack:
        for _ in range(5 - tenants):
            stack.enter_context(made.admission.waiting_client("acme", 1))
        with pytest.raises(Shed) as shed:
            await made.endpoints.post(messages.RESULTS, messages.encoded(["acme", "rubbish"]))
    assert shed.value.cause == full
    with pytest.raises(EnvelopeMalformed):
        await made.endpoints.post(messages.RESULTS, messages.encoded(["acme", "rubbish"]))


@pytest.mark.parametrize("path", [messages.STATES, messages.RECEIPTS])
async def test_no_answer_is_longer_than_a_client_reads(setup: EndpointSetup, path: str) -> None:
    """Else one job of a large result, named a thousand times, would fill the memory of the relay."""
    twice, often = [OURS] * 2, [OURS] * messages.MOST_IDS
    setup.queue.result = bytes(messages.LARGEST_ANSWER_BYTES // 2 - 100)
    reply = await setup.endpoints.post(path, messages.encoded(messages.IdsRequest("acme", tuple(twice))))
    assert len(reply.body) <= messages.LARGEST_ANSWER_BYTES
    setup.queue.looked_up = []
    each = tuple(f"{{acme}}{number:032}" for number in range(messages.MOST_IDS))
    for ids in (tuple(often), each):
        with pytest.raises(EnvelopeMalformed, match="ask for fewer jobs"):
            await setup.endpoints.post(path, messages.encoded(messages.IdsRequest("acme", ids)))
    assert len(setup.queue.looked_up) <= 1 + messages.MOST_JOBS, "the rest is not read from Redis"
    assert setup.admission.requests == 0


@pytest.mark.parametrize("path", [messages.STATES, messages.RECEIPTS])
async def test_an_answer_has_a_value_for_each_id_in_their_order(setup: EndpointSetup, path: str) -> None:
    """Also for one that is there twice, and more of them than are looked up at once."""
    setup.queue.result = b"value"
    each = [f"{{acme}}{number:032}" for number in range(300)]
    reply = await setup.endpoints.post(path, messages.encoded(messages.IdsRequest("acme", (*each, *each))))
    assert setup.queue.looked_up == each
    assert len(messages.decoded(reply.body, list[object])) == 600
