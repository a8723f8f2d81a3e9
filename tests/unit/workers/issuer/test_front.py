"""Places before the issuer's lane: each tenant has a share of them."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from typing import TYPE_CHECKING, Final, cast

import pytest
from multidict import CIMultiDict
from prometheus_client import CollectorRegistry

from queueing.errors import IssuerUnavailable
from queueing.protocol.grants.grant_request import PATH, tenant_of
from tests.support.issuer.bad_tokens import CI
from tests.support.issuer.build import Build
from tests.support.issuer.site import IssuerSite
from tests.support.waiting import turn
from workers.issuer import front as module
from workers.issuer.frames import Refused, RequestGrant, encode_frame, read_requests
from workers.issuer.front import Front, TenantPlaces
from workers.issuer.identity.certificates import MAX_CERTIFICATE_BYTES
from workers.issuer.identity.refusals import Outcome
from workers.telemetry.edge_metrics import IssuerMetrics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from aiohttp import web
    from aiohttp.web_request import BaseRequest

    from workers.issuer.lane_client import LaneClient


class Post:
    """A request for a grant, as the front reads it."""

    path = PATH
    method = "POST"
    content_length = None
    headers: Final = CIMultiDict[str]()
    transport = None
    read = False

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.content = self

    async def iter_any(self) -> AsyncIterator[bytes]:
        self.read = True
        yield self._body


class SlowLane:
    """Lane that answers once it may."""

    def __init__(self) -> None:
        self.asked = 0
        self.certificates: list[bytes] = []
        self.may_answer = asyncio.Event()
        self.logged_in = True

    def check_room(self) -> None:
        if not self.logged_in:
            raise IssuerUnavailable("no lane", retry_after_s=2.0)

    async def ask(self, body: bytes, certificate: bytes, *, check: bool) -> Refused:
        del body, check
        self.certificates.append(certificate)
        self.asked += 1
        await self.may_answer.wait()
        return Refused(1, "identity.refused", "no", "", Outcome.RULE, "github", None)


class FrontSetup:
    """A front with eight places, and the files of the tenants ``acme`` and ``globex``."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "MOST_WAITING", 8)
        site = IssuerSite(folder, CI)
        site.write()
        for tenant in ("acme", "globex"):
            (site.tenants_dir / f"{tenant}.toml").touch()
        self.lane = SlowLane()
        self.front = Front(
            site.configuration(), cast("LaneClient", self.lane), IssuerMetrics(CollectorRegistry())
        )
        self.bodies = {
            name: Build().request(CI.token(), tenant=name) for name in ("acme", "globex", "none", "nil")
        }

    def ask(self, tenant: str, count: int) -> list[asyncio.Task[web.Response]]:
        """So many requests of the tenant."""
        body = self.bodies[tenant]
        return [asyncio.create_task(self.front.answer(cast("BaseRequest", Post(body)))) for _ in range(count)]


async def test_a_tenant_leaves_places_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three quarters alone; more is told to come later, and the request of another tenant reaches the lane."""
    setup = FrontSetup(tmp_path, monkeypatch)
    many = setup.ask("acme", 10)
    await turn()
    assert setup.lane.asked == 6
    shed = [await each for each in many if each.done()]
    assert [(each.status, each.headers["Retry-After"]) for each in shed] == [(503, "2")] * 4
    assert json.loads(cast("bytes", shed[0].body))["error"]["code"] == "issuer.unavailable"
    others = setup.ask("globex", 1)
    await turn()
    assert setup.lane.asked == 7
    setup.lane.may_answer.set()
    answers = await asyncio.gather(*many, *others)
    assert [each.status for each in answers].count(403) == 7
    again = setup.ask("acme", 6)
    await asyncio.gather(*again)
    assert setup.lane.asked == 13


async def test_names_of_no_tenant_have_one_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a caller who invents names would have all places, each as the first one of a tenant."""
    setup = FrontSetup(tmp_path, monkeypatch)
    setup.bodies["no JSON"] = b"{"
    unknown = [each for name in ("none", "nil", "no JSON") for each in setup.ask(name, 4)]
    await turn()
    assert setup.lane.asked == 6
    known = [*setup.ask("acme", 1), *setup.ask("globex", 1)]
    await turn()
    assert setup.lane.asked == 8
    (one_more,) = setup.ask("none", 1)
    assert (await one_more).status == 503
    setup.lane.may_answer.set()
    await asyncio.gather(*unknown, *known)


def test_the_first_place_of_a_tenant_may_be_the_last_one() -> None:
    """A tenant gets its second place while it leaves room; a place that is given back is there again."""
    places = TenantPlaces(8)
    with contextlib.ExitStack() as stack:
        for tenant in ("acme",) * 6 + ("globex",):
            stack.enter_context(places.held(tenant))
        with pytest.raises(IssuerUnavailable, match="of this tenant"), places.held("globex"):
            pass
        with pytest.raises(ZeroDivisionError), places.held("initech"):
            _ = places.taken / 0
        with (
            places.held("initech"),
            pytest.raises(IssuerUnavailable, match="8 requests"),
            places.held("hooli"),
        ):
            pass
    assert places.taken == 0


@pytest.mark.parametrize(
    "body, tenant",
    [
        (b'{"tenant": "acme", "token": 7}', "acme"),
        (b'{"tenant": "acme", "tenant": "globex"}', "globex"),
        (b'{"tenant": ["acme"]}', ""),
        (b'{"tenant": "../acme"}', ""),
        (b'["acme"]', ""),
        (b'{"tenant": "\xff"}', ""),
        (b"[" * 30_000, ""),
        (b'{"x": ' + b"[" * 30_000, ""),
        (b"", ""),
    ],
)
def test_the_tenant_is_read_from_any_bytes(body: bytes, tenant: str) -> None:
    """Of two, the last one; the lane refuses the request."""
    assert tenant_of(body) == tenant


async def test_a_body_is_not_received_while_the_lane_takes_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that waits for a word before it sends its body is told at once when to come again."""
    setup = FrontSetup(tmp_path, monkeypatch)
    setup.lane.logged_in = False
    post = Post(setup.bodies["acme"])
    answer = await setup.front.answer(cast("BaseRequest", post))
    assert (post.read, answer.status, answer.headers["Retry-After"]) == (False, 503, "2")


class ShowingPost(Post):
    """A request over TLS, of a client that shows this certificate."""

    def __init__(self, body: bytes, certificate: bytes) -> None:
        super().__init__(body)
        self._certificate = certificate

    @property
    def transport(self) -> ShowingPost:  # type: ignore[override]
        return self

    def get_extra_info(self, name: str) -> ShowingPost:
        assert name == "ssl_object"
        return self

    def getpeercert(self, *, binary_form: bool) -> bytes:
        assert binary_form
        return self._certificate


@pytest.mark.parametrize("size_bytes", [MAX_CERTIFICATE_BYTES, MAX_CERTIFICATE_BYTES + 1])
async def test_a_certificate_that_no_frame_has_is_as_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size_bytes: int
) -> None:
    """TLS takes longer ones. In a frame one would end the lane, and every other request with it."""
    setup = FrontSetup(tmp_path, monkeypatch)
    setup.lane.may_answer.set()
    await setup.front.answer(cast("BaseRequest", ShowingPost(setup.bodies["acme"], b"c" * size_bytes)))
    (asked,) = setup.lane.certificates
    assert len(asked) == (size_bytes if size_bytes <= MAX_CERTIFICATE_BYTES else 0)
    frame = encode_frame(RequestGrant(1, setup.bodies["acme"], asked))
    assert next(read_requests(io.BytesIO(frame))).certificate == asked
