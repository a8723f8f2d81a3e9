"""Boundaries of the relay: bodies of requests, and answers as clients read them; ``boundaries`` has them in its list."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final

from queueing.broker.hindrance_values import Hindrance
from queueing.broker.job_values import MOST_PLACED, CancelStatus
from queueing.client.delivery import relay_messages as messages
from queueing.errors import EnvelopeMalformed, SigningError
from queueing.protocol.envelope import read_unverified
from queueing.protocol.priorities import Priority

_REQUESTS: Final = (
    messages.SubmitRequest,
    messages.PollRequest,
    messages.IdsRequest,
    messages.CancelRequest,
)
_ID: Final = "{acme}" + "0" * 32


def _relay_request(data: bytes) -> None:
    """Every body is read as each request, or refused; so is each envelope of a submit. The tenant is the same read alone."""
    for kind in _REQUESTS:
        with suppress(EnvelopeMalformed):
            request = messages.decoded(data, kind)
            assert isinstance(request, _REQUESTS)
            assert messages.decoded(data, messages.TenantOf).tenant == request.tenant
            if isinstance(request, messages.SubmitRequest):
                for each in request.envelopes:
                    with suppress(SigningError):
                        read_unverified(each.sealed)


def _relay_answer(data: bytes) -> None:
    """Every answer is read as each kind, or refused."""
    with suppress(SigningError):
        messages.decoded(data, messages.SubmitAnswer).receipts()
    with suppress(SigningError):
        messages.decoded(data, messages.PollAnswer)
    with suppress(SigningError):
        wait = messages.decoded(data, messages.WaitingAnswer).wait()
        assert 0 <= wait.position.queued <= MOST_PLACED
        str(wait.hindrance)
    with suppress(SigningError):
        for each in messages.decoded(data, list[messages.JobStateMessage]):
            each.state()
    for kind in (list[CancelStatus], list[bytes | None], bytes | None, int):
        with suppress(SigningError):
            messages.decoded(data, kind)  # type: ignore[arg-type]  # a union is a type


RELAY_BOUNDARIES: Final[dict[str, tuple[Callable[[bytes], None], tuple[bytes, ...]]]] = {
    "relay-answer": (
        _relay_answer,
        (
            messages.encoded(messages.PollAnswer({_ID: b"result"}, (_ID,))),
            messages.encoded([messages.JobStateMessage(None, True, 1.5, False)]),
            messages.encoded([b"proof", None]),
            messages.encoded(messages.WaitingAnswer(1, 0, 7, 2.5, Hindrance(host="", drained=("",)))),
        ),
    ),
    "relay-request": (
        _relay_request,
        (
            messages.encoded(
                messages.SubmitRequest(
                    "acme", (messages.SubmittedEnvelope(b"sealed", Priority.NORMAL, receipt=False),)
                )
            ),
            messages.encoded(messages.PollRequest("acme", (_ID,), 1000, True)),
            messages.encoded(messages.CancelRequest("acme", "ci", (_ID,))),
        ),
    ),
}
