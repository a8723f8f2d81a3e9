"""Bad tokens on their whole way, from the front to the lane and back: a code, a sentence and a count for each, and bounded work.

The work is counted, not timed: signatures that are verified, texts that are parsed with their sizes, and calls of functions.
"""

from __future__ import annotations

import gc
import io
import json
import sys
from typing import TYPE_CHECKING, Any, Final, cast

import jwt
import pytest
from multidict import CIMultiDict
from prometheus_client import CollectorRegistry

from queueing.errors import BY_REASON, SigningError
from queueing.protocol.grants.grant_request import MAX_REQUEST_BYTES, MAX_TOKEN_CHARACTERS, PATH
from tests.support.issuer.bad_tokens import ALGORITHMS, BAD, CI, HEADER, MISFITS, STRANGER, raw_token
from tests.support.issuer.build import Build
from tests.support.issuer.site import IssuerSite
from workers.issuer.frames import LENGTH, Refused, RequestGrant, decode_answer, encode_frame, read_requests
from workers.issuer.front import Front
from workers.issuer.identity.refusals import Outcome
from workers.issuer.identity.used_tokens import UsedTokens
from workers.issuer.minting import Issuer
from workers.issuer.rule_files import RuleFiles
from workers.telemetry.edge_metrics import IssuerMetrics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path
    from types import FrameType

    from aiohttp.web_request import BaseRequest

    from workers.issuer.frames import FromLane
    from workers.issuer.lane_client import LaneClient

KINDS = (
    BAD
    | MISFITS
    | {
        "as long as may be, by a stranger": (
            lambda: raw_token(HEADER, CI.claims(padding="x" * 11_000), STRANGER),
            Outcome.SIGNATURE,
            "signature",
        ),
        "as long as may be, for no rule": (
            lambda: CI.token(ref="x", padding="x" * 11_000),
            Outcome.RULE,
            "`ref`",
        ),
        "a signature that is no base64url": (lambda: CI.token()[:-1] + "!", Outcome.MALFORMED, "signature"),
    }
)

STATUS = {Outcome.MALFORMED: 400}
"""Of a refusal; all others are 403."""

MOST_CALLS = 2_500
"""Calls of functions, Python's and C's, for one request. A good token takes about 550, however long it is; the worst kind, one with more
values than are read, 1,630.
"""


class Request:
    """A POST as the front reads it."""

    path = PATH
    method = "POST"
    content_length = None
    headers: Final = CIMultiDict[str]()
    transport = None

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.content = self

    async def iter_any(self) -> AsyncIterator[bytes]:
        yield self._body


class FrontSetup:
    """A front whose lane is an issuer in the same process."""

    def __init__(self, folder: Path) -> None:
        site = IssuerSite(folder, CI)
        site.write(tables=f"algorithms = {json.dumps(ALGORITHMS)}")
        site.write_tenant()
        site.write_keys()
        configuration = site.configuration()
        self.used = folder / "used"
        self.signed: list[bytes] = []
        self.registry = CollectorRegistry()
        self.issuer = Issuer(
            configuration,
            files=RuleFiles(configuration),
            used=UsedTokens(self.used),
            key=self,
            refresh=self,
        )
        self.front = Front(configuration, cast("LaneClient", self), IssuerMetrics(self.registry))

    def check_room(self) -> None:
        """There is room."""

    async def ask(self, body: bytes, certificate: bytes, *, check: bool) -> FromLane:
        """The lane, by the frames of both ways: one that cannot be read ends the connection, for all callers."""
        asked = RequestGrant(7, body, certificate, check)
        (read,) = read_requests(io.BytesIO(encode_frame(asked)))
        return decode_answer(encode_frame(self.issuer.answer(read))[LENGTH.size :])

    def sign(self, message: bytes) -> bytes:
        """The issuer's key."""
        self.signed.append(message)
        return bytes(64)

    def want(self, provider: str) -> None:
        raise AssertionError(f"keys of {provider} are fetched for a bad token")

    def counts(self) -> dict[tuple[str, str], float]:
        """Requests by provider and outcome."""
        return {
            (sample.labels["provider"], sample.labels["outcome"]): sample.value
            for metric in self.registry.collect()
            for sample in metric.samples
            if sample.name == "sigmill_grants_total"
        }

    async def refusal(self, body: bytes) -> tuple[int, dict[str, str], tuple[str, str]]:
        """Status and error of the answer, and the one series that was counted."""
        before = self.counts()
        answer = await self.front.answer(cast("BaseRequest", Request(body)))
        changed = {series: value - before.get(series, 0.0) for series, value in self.counts().items()}
        ((series, by),) = [each for each in changed.items() if each[1]]
        assert by == 1.0
        assert isinstance(answer.body, bytes)
        return answer.status, json.loads(answer.body)["error"], series


@pytest.fixture
def setup(tmp_path: Path) -> FrontSetup:
    return FrontSetup(tmp_path)


@pytest.mark.parametrize("name", KINDS)
async def test_each_bad_token_gets_a_code_a_sentence_and_a_count(setup: FrontSetup, name: str) -> None:
    """By its kind. Nothing is signed, and no token is recorded."""
    make, outcome, words = KINDS[name]
    status, error, (provider, counted) = await setup.refusal(Build().request(make()))
    assert (status, counted) == (STATUS.get(outcome, 403), outcome)
    assert error["code"] in BY_REASON
    assert error["code"] in {"identity.refused", "grant.malformed"}
    assert len(error["message"].split()) > 4
    assert error["message"].isascii()
    assert words in error["message"] or error["code"] == "grant.malformed"
    assert error["hint"]
    assert provider in {"github", "unknown"}
    assert not setup.signed
    assert not setup.used.stat().st_size


async def test_a_token_that_another_key_has_used_gets_a_code_a_sentence_and_a_count(
    setup: FrontSetup,
) -> None:
    """A thief of it has another key."""
    token = CI.token()
    await setup.front.answer(cast("BaseRequest", Request(Build().request(token))))
    status, error, series = await setup.refusal(Build().request(token))
    assert (status, error["code"], series) == (403, "identity.refused", ("github", Outcome.REPLAYED))
    assert "another key" in error["message"]


@pytest.mark.parametrize("name", ["x" * 5_000, "x" * 31_000, "\x00\x1b[2J\n", "\u0430"], ids=range(4))
async def test_a_request_with_an_unknown_field_is_refused_with_no_part_of_its_name(
    setup: FrontSetup, name: str
) -> None:
    """However long the name is: a frame that the front cannot read would end the lane, and every other request with it."""
    body = json.dumps({**json.loads(Build().request(CI.token())), name: 1}, ensure_ascii=False).encode()
    status, error, series = await setup.refusal(body)
    assert (status, error["code"], series) == (400, "grant.malformed", ("unknown", Outcome.MALFORMED))
    assert name not in error["message"]
    assert len(error["message"]) < 100


def test_the_texts_of_a_refusal_are_cut_to_what_the_front_reads() -> None:
    """Whoever raises a longer one: the other callers' requests are on the same connection."""
    long = SigningError("x" * 5_000, hint="y" * 5_000)
    frame = encode_frame(Refused.of(7, long, Outcome.RULE, "github"))
    answer = decode_answer(frame[LENGTH.size :])
    assert isinstance(answer, Refused)
    assert (answer.message, answer.hint) == ("x" * 4096, "y" * 4096)


class Work:
    """Work of one request, as it is counted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.signatures = 0
        self.parsed: list[int] = []
        self.calls = 0
        for algorithm in (jwt.algorithms.RSAAlgorithm, jwt.algorithms.ECAlgorithm):
            monkeypatch.setattr(algorithm, "verify", self._counting(algorithm.verify))
        parse = json.loads

        def loads(text: str | bytes, **how: Any) -> Any:
            self.parsed.append(len(text))
            return parse(text, **how)

        monkeypatch.setattr(json, "loads", loads)

    def _counting(self, verify: Callable[..., bool]) -> Callable[..., bool]:
        def counted(*arguments: Any) -> bool:
            self.signatures += 1
            return verify(*arguments)

        return counted

    def of(self, issuer: Issuer, body: bytes) -> Work:
        """Have the body answered, by an issuer that has read its files."""
        issuer.answer(RequestGrant(7, Build().request(CI.token())))
        self.signatures, self.parsed = 0, []

        def profile(_: FrameType, event: str, __: object) -> None:
            self.calls += event in {"call", "c_call"}

        gc.disable()  # its callbacks are no work of the request
        sys.setprofile(profile)
        try:
            issuer.answer(RequestGrant(7, body))
        finally:
            sys.setprofile(None)
            gc.enable()
        return self


@pytest.mark.parametrize("name", KINDS)
def test_no_bad_token_costs_more_than_one_signature_and_some_thousand_steps(
    setup: FrontSetup, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing that is too long is parsed, the payload is parsed twice at most, and no kind is slow."""
    make, outcome, _ = KINDS[name]
    body = Build().request(make())
    work = Work(monkeypatch).of(setup.issuer, body)
    assert work.signatures <= 1
    if outcome in {Outcome.PROVIDER, Outcome.HEADER, Outcome.KEY}:
        assert work.signatures == 0
    assert len(work.parsed) <= 4, (
        "the request, the payload for its issuer, the header, the payload for its claims"
    )
    assert sum(size > MAX_TOKEN_CHARACTERS for size in work.parsed) <= 1, "the request alone may be longer"
    assert all(size <= MAX_REQUEST_BYTES for size in work.parsed)
    assert work.calls < MOST_CALLS


def test_a_good_token_is_far_from_the_bound(setup: FrontSetup, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound is not one that everything keeps: it is some times what an ordinary token takes."""
    work = Work(monkeypatch).of(setup.issuer, Build().request(CI.token()))
    assert (work.signatures, len(work.parsed), len(setup.signed)) == (1, 4, 2)
    assert MOST_CALLS / 10 < work.calls < MOST_CALLS / 2
