"""Answers of a relay, by requests that the test plays."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final, cast

import msgspec
import pytest
from aiohttp import web
from multidict import CIMultiDict
from prometheus_client import CollectorRegistry

from queueing.client.delivery import relay_messages as messages
from tests.support.relay.relay_settings import settings
from workers.relay.admission import Admission
from workers.relay.endpoints import Endpoints, Reply
from workers.relay.site import RelaySite
from workers.telemetry.edge_metrics import RelayMetrics

if TYPE_CHECKING:
    from aiohttp.web_request import BaseRequest

POSTS: Final = (
    messages.JOBS,
    messages.RESULTS,
    messages.STATES,
    messages.CANCEL,
    messages.RECEIPTS,
    messages.WAITING,
)


class Post:
    """A POST of which it is known whether its body was read."""

    method = "POST"
    content_length = None
    headers: Final = CIMultiDict[str]()
    read = False

    def __init__(self, path: str) -> None:
        self.path = path
        self.content = self

    async def iter_any(self) -> AsyncIterator[bytes]:
        self.read = True
        yield b""


class SiteSetup:
    """A site for the tenant ``acme``, which has no queue."""

    def __init__(self) -> None:
        made = settings(acme=None)
        metrics = RelayMetrics(CollectorRegistry())
        self.admission = Admission(made)
        endpoints = Endpoints(made, {}, admission=self.admission, metrics=metrics)
        self.site = RelaySite(endpoints, made.limits, admission=self.admission, metrics=metrics)

    async def answer(self, post: Post) -> web.Response:
        answer = await self.site.answer(cast("BaseRequest", post))
        assert isinstance(answer, web.Response)
        return answer


@pytest.fixture
def setup() -> SiteSetup:
    return SiteSetup()


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("why", ["draining", "full"])
async def test_a_body_is_not_received_while_no_message_would_be_taken(
    setup: SiteSetup, path: str, why: str
) -> None:
    """The answer is 503 with a time; the connection ends with it, for the body is still on its way."""
    post = Post(path)
    with contextlib.ExitStack() as stack:
        if why == "draining":
            setup.admission.draining = True
        elif path == messages.RESULTS:
            for _ in range(4):
                stack.enter_context(setup.admission.waiting_client("acme", 1))
        else:
            for _ in range(2):
                stack.enter_context(setup.admission.request("acme"))
        answer = await setup.answer(post)
    assert (post.read, answer.status, answer.keep_alive) == (False, 503, False)
    assert 1 <= int(answer.headers["Retry-After"]) <= 5
    assert msgspec.json.decode(cast("bytes", answer.body))["code"] == "queue.unavailable"


@pytest.mark.parametrize("path", POSTS)
async def test_a_body_is_received_while_there_is_room(setup: SiteSetup, path: str) -> None:
    """Full waiting places hold up no request, and full requests no poll."""
    post = Post(path)
    with contextlib.ExitStack() as stack:
        if path == messages.RESULTS:
            for _ in range(2):
                stack.enter_context(setup.admission.request("acme"))
        else:
            for _ in range(4):
                stack.enter_context(setup.admission.waiting_client("acme", 1))
        answer = await setup.answer(post)
    assert (post.read, answer.status) == (True, 400)


class Get:
    """A GET of the time of Redis."""

    method = "GET"
    path = messages.TIME
    query: Final = CIMultiDict[str]({"tenant": "acme"})


class ShortEndpoints:
    """Operations of a relay of which each has this answer."""

    paths = frozenset({messages.TIME})

    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    def method(self, path: str) -> str:
        del path
        return "GET"

    async def get(self, path: str, tenant: str) -> Reply:
        del path, tenant
        return self._reply


@pytest.mark.parametrize(
    "reply, status, wait",
    [
        (Reply(b"answer", tenant="acme"), 200, None),
        (Reply(b"", tenant="acme", last=True), 200, None),
        (Reply(b"answer", tenant="acme", limited_s=2.5), 429, "3"),
    ],
    ids=["ok", "last", "limited"],
)
async def test_a_message_is_answered(reply: Reply, status: int, wait: str | None) -> None:
    """With its length and type, and with a time where the limits refused all of it."""
    made, metrics = settings(acme=None), RelayMetrics(CollectorRegistry())
    endpoints = cast("Endpoints", ShortEndpoints(reply))
    site = RelaySite(endpoints, made.limits, admission=Admission(made), metrics=metrics)
    answer = await site.answer(cast("BaseRequest", Get()))
    assert isinstance(answer, web.Response)
    assert (answer.status, answer.body, answer.content_type) == (status, reply.body, messages.MESSAGE_TYPE)
    assert answer.content_length == len(reply.body)
    assert answer.headers.get("Retry-After") == wait
    assert answer.keep_alive is (False if reply.last else None)
