"""Requests of strangers: each is answered or cut, and the next client is served."""

from __future__ import annotations

import asyncio
import json
import os

import msgspec
import pytest

from queueing import Signature, SigningClient
from queueing.client.delivery import relay_messages as messages
from queueing.protocol.envelope import read_unverified
from queueing.protocol.jobs import job_id_of
from queueing.protocol.priorities import Priority
from tests.support.farm.farm import Farm, digests
from tests.support.relay.envelopes import envelope
from tests.support.relay.relay_process import RelayProcess


def request(
    path: str, body: bytes, *, method: str = "POST", headers: str = "", length: int | None = None
) -> bytes:
    length = len(body) if length is None else length
    return (
        f"{method} {path} HTTP/1.1\r\nHost: relay\r\n{headers}Content-Length: {length}\r\n\r\n".encode()
        + body
    )


def jobs(*sealed: bytes, tenant: str = "acme") -> bytes:
    return messages.encoded(
        messages.SubmitRequest(
            tenant, tuple(messages.SubmittedEnvelope(each, Priority.NORMAL, receipt=False) for each in sealed)
        )
    )


HEAD = b"POST /v1/jobs HTTP/1.1\r\nHost: relay\r\n"
BAD = {
    "no HTTP": (b"\x16\x03\x01 rubbish\r\n\r\n", 400),
    "bytes that are no text": (os.urandom(4096) + b"\r\n\r\n", 400),
    "an unknown path": (request("/v1/keys", b""), 404),
    "a path outside": (request("/v1/../../etc/passwd", b""), 404),
    "an unknown method": (request("/v1/jobs", b"", method="BREW"), 400),
    "another method": (request("/v1/jobs", b"", method="PUT"), 404),
    "a GET of what is posted": (request("/v1/jobs", b"", method="GET"), 404),
    "no body": (request("/v1/jobs", b""), 400),
    "JSON": (request("/v1/jobs", b'{"tenant": "acme"}'), 400),
    "100,000 brackets": (request("/v1/jobs", b"\x91" * 100_000), 400),
    "100,000 brackets in a poll": (request("/v1/results", b"\x91" * 100_000), 400),
    "an array that promises 4 billion": (request("/v1/jobs", b"\xdd\xff\xff\xff\xff"), 400),
    "a body of 2 MiB": (request("/v1/jobs", bytes(2 * 1024 * 1024)), 413),
    "a tenant of another relay": (request("/v1/jobs", jobs(b"x", tenant="globex")), 403),
    "a directory of another tenant": (request("/v1/directory?tenant=globex", b"", method="GET"), 403),
    "a directory of no tenant": (request("/v1/directory", b"", method="GET"), 403),
    "no envelopes": (request("/v1/jobs", jobs()), 400),
    "129 envelopes": (request("/v1/jobs", jobs(*[b"x"] * 129)), 400),
    "2,000 ids": (
        request("/v1/results", msgspec.msgpack.encode(["acme", ["{acme}" + "0" * 32] * 2000, 0, False])),
        400,
    ),
    "a wait of a day": (request("/v1/results", msgspec.msgpack.encode(["acme", [], 86_400_000, False])), 400),
    "a priority that is none": (
        request("/v1/jobs", msgspec.msgpack.encode(["acme", [[b"x", "before all others", False]]])),
        400,
    ),
    "a foreign job to cancel": (
        request("/v1/cancel", msgspec.msgpack.encode(["acme", "ci", ["{globex}" + "0" * 32]])),
        400,
    ),
    "a foreign job's receipt": (
        request("/v1/receipts", msgspec.msgpack.encode(["acme", ["arq:job:x"]])),
        400,
    ),
    "the place of 2,000 jobs": (
        request("/v1/waiting", msgspec.msgpack.encode(["acme", ["{acme}" + "0" * 32] * 2000])),
        400,
    ),
    "the place of another tenant's jobs": (
        request("/v1/waiting", msgspec.msgpack.encode(["globex", ["{globex}" + "0" * 32]])),
        403,
    ),
    "the place of 100,000 brackets": (request("/v1/waiting", b"\x92\xa4acme" + b"\x91" * 100_000), 400),
    "a header of 100 kB": (HEAD + b"X-Long: " + b"x" * 100_000 + b"\r\n\r\n", 400),
    "a path of 10 kB": (b"GET /" + b"x" * 10_000 + b" HTTP/1.1\r\nHost: relay\r\n\r\n", 400),
    "1,000,000 headers": (HEAD + b"X: 1\r\n" * 1_000_000 + b"\r\n", 400),
    "two lengths": (HEAD + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
    "a length of 5,000 digits": (HEAD + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n", 400),
    "2 MiB that wait for a word": (HEAD + b"Expect: 100-continue\r\nContent-Length: 2097152\r\n\r\n", 413),
    "a negative length": (HEAD + b"Content-Length: -1\r\n\r\n", 400),
    "length and chunks": (HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "chunks that are none": (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzzz\r\n", 400),
    "compressed": (request("/v1/jobs", b"\x1f\x8b" + bytes(100), headers="Content-Encoding: gzip\r\n"), 400),
}


@pytest.fixture
def tables() -> str:
    """Shorter times than an operator's."""
    return "[limits]\nheader_s = 1.0\nbody_s = 1.0\n"


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.") else 0


def repeats(answer: bytes, raw: bytes) -> bool:
    """Whether the answer has eight bytes in a row of what was sent."""
    return any(answer[i : i + 8] in raw[:200_000] for i in range(len(answer) - 7))


def closes(head: bytes) -> bool:
    """Whether the relay says that it closes the connection (RFC 9112, 9.3)."""
    return head.startswith(b"HTTP/1.0 ") or b"connection: close" in head.lower()


async def test_each_is_refused_with_a_sentence_and_harms_nobody(farm: Farm, relay: RelayProcess) -> None:
    """A code, no text of the request but its method, and the connection is closed. A client signs before, meanwhile and after."""
    async with SigningClient(relay.client_config(farm.config), farm.key) as client:
        before, meanwhile, after = digests(3)
        assert (await client.sign("release", before, timeout_s=30.0)).verified
        signing = asyncio.create_task(client.sign("release", meanwhile, timeout_s=30.0))
        wrong = {}
        for name, (raw, status) in BAD.items():
            answer = await asyncio.wait_for(relay.exchange(raw), 20.0)
            if not answer and len(raw) > 64 * 1024:
                continue  # a peer that still sends may see the reset before the answer
            head, _, body = answer.partition(b"\r\n\r\n")
            refusal = json.loads(body or b"{}")
            told = refusal.get("code") and refusal.get("message") and not repeats(body, raw)
            if status_of(answer) != status or not told or not closes(head):
                wrong[name] = answer[:300]
        assert not wrong
        assert (await signing).verified
        assert (await client.sign("release", after, timeout_s=30.0)).verified
    assert relay.metric('sigmill_relay_requests_total{endpoint="jobs",outcome="refused"}') >= 8
    assert "relay.request_failed" not in relay.events()
    assert relay.rss_mib < 300


HALVES = {
    "nothing": (b"", None),
    "half a header": (HEAD[:-3], None),
    "half a body": (HEAD + b"Content-Length: 100\r\n\r\nhalf", 408),
    "half a chunk": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel", 408),
}


async def test_silent_connections_are_cut(relay: RelayProcess) -> None:
    """After the time for headers, or for a body and with an answer."""
    answers = await asyncio.wait_for(
        asyncio.gather(*(relay.exchange(raw) for raw, _ in HALVES.values())), 20.0
    )
    for (name, (_, status)), answer in zip(HALVES.items(), answers, strict=True):
        assert (status_of(answer) if answer else None) == status, name


async def test_a_sealed_envelope_that_is_none_costs_its_own_place_only(
    farm: Farm, relay: RelayProcess
) -> None:
    """Of another tenant or service, cut or none at all: refused by the relay; the others of the request are taken and signed."""
    one, two = envelope(farm, 1).sealed, envelope(farm, 2).sealed
    foreign = envelope(farm, 3, tenant="globex").sealed, envelope(farm, 4, audience="other/eu").sealed
    sealed = (b"", one, b"x", *foreign, one[:-1], bytes(190_000), two)
    answer = await relay.exchange(request("/v1/jobs", jobs(*sealed), headers="Connection: close\r\n"))
    replies = messages.decoded(answer.partition(b"\r\n\r\n")[2], messages.SubmitAnswer).replies
    bad, foreign_bad = "envelope.malformed", "envelope.audience"
    assert [each.refusal.code if each.refusal else str(each.status) for each in replies] == [
        *(bad, "accepted", bad, foreign_bad, foreign_bad, bad, bad, "accepted"),
    ]
    taken = [read_unverified(each).envelope for each in (one, two)]
    async with SigningClient(relay.client_config(farm.config), farm.key) as client:
        for each in taken:
            signed = await client.wait(job_id_of(each.tenant, each.idempotency_key), timeout_s=30.0)
            assert [type(outcome) for outcome in signed] == [Signature] * 64
