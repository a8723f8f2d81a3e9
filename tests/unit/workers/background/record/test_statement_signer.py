"""Certification of epoch keys: one request after another, and a service key that is away delays nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest

from queueing.errors import EnvelopeMalformed, ProofInvalid, QueueUnavailable, SigningError, TokenUnavailable
from queueing.protocol.jobs import WireError
from tests.support.fakes.configurations import configuration
from tests.support.fakes.configurations import tenant as a_tenant
from workers.background.record import statement_signer as module
from workers.background.record.origin_check import Compared, OriginCheck
from workers.background.record.statement_signer import StatementSigner
from workers.current_config import CurrentConfig
from workers.lanes.protocol import SignedStatement, SignStatement
from workers.lanes.supervisor.registry import LaneRegistry
from workers.record.exchange import Head, StatementRequest, StatementRequests


class Origins:
    """Compares nothing: of these tenants nothing can be said, and with ``error`` of none."""

    def __init__(self, *uncertain: str, error: SigningError | None = None) -> None:
        self._uncertain = uncertain
        self.error = error
        self.asked: list[tuple[str, list[str]]] = []
        self.twice = asyncio.Event()

    async def compare(self, name: str, tenants: Sequence[str]) -> Compared:
        self.asked.append((name, [*tenants]))
        if len(self.asked) == 2:
            self.twice.set()
        if self.error is not None:
            raise self.error
        return Compared(uncertain={tenant: ProofInvalid("not now") for tenant in self._uncertain})


def signer_of(state_dir: Path, lanes: ServiceLanes, origins: Origins) -> StatementSigner:
    config = CurrentConfig(configuration([a_tenant("other")], state_dir=state_dir))
    return StatementSigner(config, cast("LaneRegistry", lanes), cast("OriginCheck", origins))


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
    signer = signer_of(tmp_path, lanes, Origins())
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
    signer = signer_of(tmp_path, lanes, Origins())
    running = asyncio.ensure_future(signer.run())
    async with asyncio.timeout(10):
        await lanes.twice.wait()
    running.cancel()
    await asyncio.wait({running})
    assert [asked.tenant for asked in lanes.asked] == ["acme", "globex"]


def ask(state_dir: Path, *tenants: str) -> None:
    for tenant in tenants:
        head = Head(origin=f"sigmill/test/{tenant}/0123456789abcdef", size=7, root=b"r" * 32)
        StatementRequests(state_dir).ask(StatementRequest(tenant=tenant, epoch_key=b"k" * 32, head=head))


async def test_nothing_is_certified_that_cannot_be_compared_with_redis(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked again until it can be; every tenant of the service is looked at, also one without a request."""
    monkeypatch.setattr(module, "INTERVAL_S", 0.0)
    ask(tmp_path, "acme", "globex")
    lanes, origins = RefusingLanes(), Origins(error=QueueUnavailable())
    running = asyncio.ensure_future(signer_of(tmp_path, lanes, origins).run())
    async with asyncio.timeout(10):
        await origins.twice.wait()
        assert origins.asked[0] == ("0123456789abcdef", ["acme", "globex", "other"])
        assert lanes.asked == []
        origins.error = None
        await lanes.twice.wait()
    running.cancel()
    await asyncio.wait({running})


async def test_a_log_that_cannot_be_compared_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "INTERVAL_S", 0.0)
    ask(tmp_path, "acme", "globex")
    lanes = RefusingLanes()
    running = asyncio.ensure_future(signer_of(tmp_path, lanes, Origins("acme")).run())
    async with asyncio.timeout(10):
        await lanes.twice.wait()
    running.cancel()
    await asyncio.wait({running})
    assert [asked.tenant for asked in lanes.asked] == ["globex"]
    assert len(StatementRequests(tmp_path)) == 2
