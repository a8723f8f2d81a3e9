"""Canaries at an interval: recorded before and after, verified here, for tokens in use and no others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, cast

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from prometheus_client import CollectorRegistry

from queueing.errors import HsmFault, LogUnavailable, TokenUnavailable
from queueing.protocol.algorithms import Algorithm
from queueing.protocol.jobs import WireError
from queueing.protocol.public_keys import PublicKey
from tests.support.fakes.config_files import Site, p256_key, tenant_text, version_lines
from tests.support.waiting import turn
from workers.background import canary_prober as module
from workers.background.canary_prober import CanaryProber
from workers.config.loading import load_configuration
from workers.config.settings import WorkerSettings
from workers.current_config import CurrentConfig
from workers.current_stop_orders import CurrentStopOrders
from workers.journal.journal import WriteAheadLog
from workers.journal.records import CanaryIntentRecord, CanaryOutcomeRecord, Record
from workers.lanes.canary import canary_digest
from workers.lanes.protocol import KEY_NOT_FOUND, SignCanary, SignedCanary
from workers.lanes.supervisor.registry import LaneRegistry
from workers.telemetry.metrics import Metrics

EVERY_S = WorkerSettings().canary_s
DIGEST = canary_digest(Algorithm.ECDSA_SHA_256)


def signature_by(number: int, digest: bytes = DIGEST) -> bytes:
    """Signature by the private half of ``p256_key(number)``."""
    key = ec.derive_private_key(number, ec.SECP256R1())
    return key.sign(digest, ec.ECDSA(Prehashed(SHA256())))


@dataclass
class Lanes:
    """Lanes of one token; ``answers`` are given in turn, the last one again and again. None: it hangs."""

    token: str = "acme"
    tenant: str | None = "acme"
    can_sign: bool = True
    in_doubt: bool = False
    load: int = 0
    answers: list[SignedCanary | Exception | None] = field(
        default_factory=lambda: [SignedCanary(0, signature_by(1))]
    )
    asked: list[SignCanary] = field(default_factory=list)
    found: list[tuple[str, int, bool]] = field(default_factory=list)

    @property
    def missing_keys(self) -> Lanes:
        return self

    def record(self, key: str, version: int, *, found: bool) -> None:
        self.found.append((key, version, found))

    @property
    def status(self) -> Lanes:
        return self

    @property
    def requests(self) -> Lanes:
        return self

    @property
    def takes_canaries(self) -> bool:
        return self.can_sign

    async def sign_canary(self, request: SignCanary) -> SignedCanary:
        self.asked.append(request)
        answer = self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
        if answer is None:
            await asyncio.Event().wait()
            raise AssertionError
        if isinstance(answer, Exception):
            raise answer
        return answer


@dataclass
class Registry:
    """The lanes of one worker."""

    lanes: tuple[Lanes, ...]

    def all(self) -> tuple[Lanes, ...]:
        return self.lanes


@dataclass
class Log:
    """Records that were appended; fails on demand."""

    records: list[Record] = field(default_factory=list)
    failing: bool = False

    async def append(self, records: list[Record]) -> None:
        if self.failing:
            raise LogUnavailable
        self.records += records

    def append_nowait(self, records: list[Record]) -> None:
        self.records += records


class Clock:
    """Fake of the module ``time``, and of ``unix_ms``: monotonic and wall clock are one."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.time = self.monotonic = lambda: self.now
        self.unix_ms = lambda: int(self.now * 1000)


@dataclass
class CanaryWorker:
    """Canaries of a worker with acme and globex, one key each."""

    clock: Clock
    metrics: Metrics
    registry: CollectorRegistry
    lanes: list[Lanes]
    log: Log
    sleeping: asyncio.Event
    config: CurrentConfig
    site: Site

    def rotate(self, key: PublicKey) -> None:
        """Adopt a configuration in which acme's key has a second version."""
        text = self.site.tenants["acme"] + "[[keys.release.versions]]\n" + version_lines(key, version=2)
        self.site.tenants["acme"] = text.replace("epoch = 4", "epoch = 5")
        self.config.adopt(load_configuration(self.site.write().config))

    async def pass_time(self, seconds: float) -> None:
        """Move the clock, and have the prober check once more."""
        self.clock.now += seconds
        self.sleeping.set()
        await turn()

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"sigmill_{name}", labels)

    def last_success(self, token: str = "acme") -> float | None:  # noqa: S107 - a name
        return self.value("canary_last_success_timestamp_seconds", token=token)

    def runs(self, outcome: str, token: str = "acme") -> float | None:  # noqa: S107 - a name
        return self.value("canary_runs_total", token=token, outcome=outcome)


class MakeWorker(Protocol):
    def __call__(self, *lanes: Lanes, asks: bool = False) -> AbstractAsyncContextManager[CanaryWorker]: ...


@pytest.fixture
def canary_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeWorker:
    """Makes a context with these lanes; ``asks``: acme's key has two versions, each with a canary."""

    @asynccontextmanager
    async def make(*lanes: Lanes, asks: bool = False) -> AsyncIterator[CanaryWorker]:
        clock, sleeping, log, registry = Clock(), asyncio.Event(), Log(), CollectorRegistry()

        async def sleep(_: float) -> None:
            sleeping.clear()
            await sleeping.wait()

        monkeypatch.setattr(module, "time", clock)
        monkeypatch.setattr(module, "unix_ms", clock.unix_ms)
        acme = tenant_text("acme", p256_key(1))
        if asks:
            head = "[[keys.release.versions]]\n"
            acme = acme.replace(head, "canary = true\n" + head) + head + version_lines(p256_key(3), version=2)
        texts = {
            "acme": acme,
            "globex": tenant_text("globex", p256_key(2)),
        }
        site = Site(tmp_path, tenants=texts).write()
        config = CurrentConfig(load_configuration(site.config))
        metrics = Metrics(registry)
        canaries = CanaryProber(
            config,
            lanes=cast("LaneRegistry", Registry(lanes)),
            stop_orders=CurrentStopOrders(),
            wal=cast("WriteAheadLog", log),
            metrics=metrics,
            sleep=sleep,
        )
        running = asyncio.create_task(canaries.run())
        made = CanaryWorker(clock, metrics, registry, list(lanes), log, sleeping, config, site)
        await made.pass_time(0)
        try:
            yield made
        finally:
            running.cancel()
            await asyncio.wait({running})

    return make


async def test_a_token_in_use_has_its_canary_at_an_interval(canary_worker: MakeWorker) -> None:
    """The first one comes an interval after its first lane; the request has key and version, and no digest."""
    async with canary_worker(Lanes()) as s:
        await s.pass_time(EVERY_S - 1)
        assert not s.lanes[0].asked
        assert s.last_success() is None
        await s.pass_time(1)
        assert s.lanes[0].asked == [SignCanary(1, "release", 1)]
        assert (s.last_success(), s.runs("ok")) == (s.clock.now, 1.0)
        await s.pass_time(EVERY_S - 1)
        assert len(s.lanes[0].asked) == 1
        await s.pass_time(1)
        assert (s.last_success(), s.runs("ok")) == (s.clock.now, 2.0)


async def test_a_key_that_a_reload_brings_is_probed_at_once(canary_worker: MakeWorker) -> None:
    """The lanes may not see it: made as another user, not loaded, or in another partition."""
    missing = WireError(code="token.unavailable", message=KEY_NOT_FOUND)
    async with canary_worker(Lanes(answers=[SignedCanary(0, b"", missing)])) as s:
        await s.pass_time(1)
        assert not s.lanes[0].asked
        s.rotate(p256_key(3))
        await s.pass_time(1)
        assert [(each.key, each.version) for each in s.lanes[0].asked] == [("release", 2)]
        assert s.lanes[0].found == [("release", 2, False)]
        await s.pass_time(1)
        assert len(s.lanes[0].asked) == 1


async def test_a_canary_is_recorded_before_and_after(canary_worker: MakeWorker) -> None:
    """As every other use of a key: the digest, the key, and the signature."""
    async with canary_worker(Lanes()) as s:
        await s.pass_time(EVERY_S)
        intent, outcome = s.log.records
        assert isinstance(intent, CanaryIntentRecord)
        assert (intent.token, intent.tenant, intent.key, intent.version) == ("acme", "acme", "release", 1)
        assert (intent.digest, intent.public_key_sha256) == (DIGEST, p256_key(1).sha256)
        assert isinstance(outcome, CanaryOutcomeRecord)
        assert (outcome.job_id, outcome.lease) == (intent.job_id, intent.lease)
        assert outcome.outcome == "ok"
        p256_key(1).verify(Algorithm.ECDSA_SHA_256, DIGEST, outcome.signature)


async def test_the_services_token_has_a_canary_too(canary_worker: MakeWorker) -> None:
    """Of the service's own key, and of no tenant's."""
    service = Lanes(token="service", tenant=None, answers=[SignedCanary(0, signature_by(99))])
    async with canary_worker(service) as s:
        await s.pass_time(EVERY_S)
        assert (s.runs("ok", "service"), s.last_success("service")) == (1.0, s.clock.now)
        assert isinstance(s.log.records[0], CanaryIntentRecord)
        assert (s.log.records[0].tenant, s.log.records[0].key) == ("", "service")


async def test_a_token_that_is_not_in_use_has_no_canary(canary_worker: MakeWorker) -> None:
    """No lane is started for it, and no age of it grows."""
    async with canary_worker(Lanes()) as s:
        await s.pass_time(EVERY_S)
        s.lanes[0].can_sign = False
        await s.pass_time(10 * EVERY_S)
        assert len(s.lanes[0].asked) == 1
        assert s.last_success() is None
        s.lanes[0].can_sign = True
        await s.pass_time(1)
        assert len(s.lanes[0].asked) == 1  # it is counted from the new lane on


async def test_the_age_of_a_token_in_doubt_grows(canary_worker: MakeWorker) -> None:
    """A tenant needs it, and it does not sign."""
    async with canary_worker(Lanes()) as s:
        await s.pass_time(EVERY_S)
        signed_at = s.clock.now
        s.lanes[0].can_sign, s.lanes[0].in_doubt = False, True
        await s.pass_time(10 * EVERY_S)
        assert s.last_success() == signed_at


@pytest.mark.parametrize(
    "answer, outcome",
    [
        (SignedCanary(0, b"", WireError.of(HsmFault())), "hsm.fault"),
        (TokenUnavailable(), "token.unavailable"),
        (SignedCanary(0, signature_by(2)), "result.invalid"),
        (SignedCanary(0, signature_by(1, b"\1" * 32)), "result.invalid"),
        (SignedCanary(0, b""), "result.invalid"),
    ],
    ids=["refused", "lane-lost", "another-key", "another-digest", "empty"],
)
async def test_a_canary_without_a_valid_signature_is_a_failure(
    canary_worker: MakeWorker, answer: SignedCanary | Exception | None, outcome: str
) -> None:
    """The worker verifies it itself; the reason is counted and recorded, and the last success stays."""
    async with canary_worker(Lanes(answers=[answer, SignedCanary(0, signature_by(1)), answer])) as s:
        await s.pass_time(EVERY_S)
        assert (s.runs(outcome), s.runs("ok")) == (1.0, None)
        assert s.last_success() == 0.0
        await s.pass_time(EVERY_S)
        signed_at = s.clock.now
        await s.pass_time(EVERY_S)
        assert (s.runs(outcome), s.runs("ok")) == (2.0, 1.0)
        assert s.last_success() == signed_at
        assert isinstance(s.log.records[-1], CanaryOutcomeRecord)
        assert s.log.records[-1].outcome == outcome


async def test_nothing_is_signed_while_the_log_fails(canary_worker: MakeWorker) -> None:
    """Without a durable intent no key is used."""
    async with canary_worker(Lanes()) as s:
        s.log.failing = True
        await s.pass_time(EVERY_S)
        assert not s.lanes[0].asked
        assert s.runs("log.unavailable") == 1.0
        s.log.failing = False
        await s.pass_time(EVERY_S)
        assert s.last_success() == s.clock.now


async def test_a_token_is_as_old_as_its_oldest_key(canary_worker: MakeWorker) -> None:
    """A key with a canary of its own that fails is not hidden by one that signs."""
    good, bad = SignedCanary(0, signature_by(1)), TokenUnavailable()
    lanes = Lanes(answers=[SignedCanary(0, signature_by(3)), good, SignedCanary(0, signature_by(3)), bad])
    async with canary_worker(lanes, asks=True) as s:
        await s.pass_time(EVERY_S)
        first = s.clock.now
        assert [canary.version for canary in lanes.asked] == [2, 1]
        assert s.last_success() == first
        await s.pass_time(EVERY_S)
        assert s.last_success() == first
        assert (s.runs("ok"), s.runs("token.unavailable")) == (3.0, 1.0)


async def test_a_token_that_hangs_delays_no_other(canary_worker: MakeWorker) -> None:
    """It is not probed again before it has answered."""
    hangs = Lanes(answers=[None])
    other = Lanes(token="globex", tenant="globex", answers=[SignedCanary(0, signature_by(2))])
    async with canary_worker(hangs, other) as s:
        await s.pass_time(EVERY_S)
        await s.pass_time(EVERY_S)
        assert (len(hangs.asked), s.runs("ok", "globex")) == (1, 2.0)


async def test_a_canary_under_way_at_the_shutdown_is_closed_as_unknown(canary_worker: MakeWorker) -> None:
    """It may have been signed."""
    async with canary_worker(Lanes(answers=[None])) as s:
        await s.pass_time(EVERY_S)
        assert len(s.log.records) == 1
    intent, unknown = s.log.records
    assert isinstance(intent, CanaryIntentRecord)
    assert isinstance(unknown, CanaryOutcomeRecord)
    assert (unknown.job_id, unknown.lease) == (intent.job_id, intent.lease)
    assert (unknown.tenant, unknown.outcome, unknown.signature) == (intent.tenant, "unknown", b"")
