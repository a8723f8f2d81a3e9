"""Certification of epoch keys: one request after another, and a service key that is away delays nothing else."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

import pytest

from queueing.errors import EnvelopeMalformed, TokenUnavailable
from queueing.protocol.jobs import WireError
from tests.support.fakes.configurations import configuration
from workers.background.record import statement_signer as module
from workers.background.record.statement_signer import StatementSigner
from workers.current_config import CurrentConfig
from workers.lanes.protocol import SignedStatement, SignStatement
from workers.lanes.supervisor.registry import LaneRegistry
from workers.record.exchange import Head, StatementRequest, StatementRequests


class ServiceLanes:
    """Answers each request with an error, and notes it."""

    def __init__(self) -> None:
        self.asked: list[SignStatement] = []
        self.twice = asyncio.Event()

    @property
    def service_lanes(self) -> ServiceLanes:
        return self

    @property
    def requests(self) -> ServiceLanes:
        return self

    async def sign_statement(self, request: SignStatement) -> SignedStatement:
        self.asked.append(request)
        if len(self.asked) == 2:
            self.twice.set()
        return SignedStatement(request.id, b"", WireError.of(TokenUnavailable()))


async def test_a_request_is_asked_again_until_the_service_key_signs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It stays, and the reason is logged."""
    monkeypatch.setattr(module, "INTERVAL_S", 0.0)
    head = Head(origin="sigmill/test/acme/0123456789abcdef", size=7, root=b"r" * 32)
    former = Head(origin="sigmill/test/acme/fedcba9876543210", size=9, root=b"f" * 32)
    requests = StatementRequests(tmp_path)
    requests.ask(StatementRequest(tenant="acme", epoch_key=b"k" * 32, head=head, follows=former))
    lanes = ServiceLanes()
    signer = StatementSigner(CurrentConfig(configuration(state_dir=tmp_path)), cast("LaneRegistry", lanes))
    running = asyncio.ensure_future(signer.run())
    async with asyncio.timeout(10):
        await lanes.twice.wait()
    running.cancel()
    await asyncio.wait({running})
    asked = lanes.asked[0]
    assert (asked.tenant, asked.origin, asked.epoch_key) == ("acme", "0123456789abcdef", b"k" * 32)
    assert asked.follows is not None
    assert asked.follows.origin == former.origin
    assert len(requests) == 1
    assert "record.not_certified" in [record.getMessage() for record in caplog.records]


class RefusingLanes(ServiceLanes):
    """Refuses each request for itself."""

    async def sign_statement(self, request: SignStatement) -> SignedStatement:
        self.asked.append(request)
        if request.tenant == "globex":
            self.twice.set()
        return SignedStatement(request.id, b"", WireError.of(EnvelopeMalformed("no statement")))


async def test_a_request_that_cannot_be_answered_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is a lane asked about the log of another service, or one whose name it does not read: that would end it."""
    monkeypatch.setattr(module, "INTERVAL_S", 0.0)
    requests = StatementRequests(tmp_path)
    for tenant, origin in (
        ("aaa", "sigmill/other/aaa/0123456789abcdef"),
        ("abc", "sigmill/test/abc/no-name"),
        ("acme", "sigmill/test/acme/0123456789abcdef"),
        ("globex", "sigmill/test/globex/0123456789abcdef"),
    ):
        head = Head(origin=origin, size=7, root=b"r" * 32)
        requests.ask(StatementRequest(tenant=tenant, epoch_key=b"k" * 32, head=head))
    lanes = RefusingLanes()
    signer = StatementSigner(CurrentConfig(configuration(state_dir=tmp_path)), cast("LaneRegistry", lanes))
    running = asyncio.ensure_future(signer.run())
    async with asyncio.timeout(10):
        await lanes.twice.wait()
    running.cancel()
    await asyncio.wait({running})
    assert [asked.tenant for asked in lanes.asked] == ["acme", "globex"]
