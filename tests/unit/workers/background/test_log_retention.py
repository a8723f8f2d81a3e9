"""Deletion of old segments, which is tried again after the disk failed; and the retention of the sealer."""

from __future__ import annotations

import asyncio
import dataclasses
import errno
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from queueing.protocol.algorithms import Algorithm
from tests.support.certificates import issue
from tests.support.fakes.config_files import p256_key
from tests.support.fakes.configurations import configuration, current_config, tenant
from workers.background import log_retention as module
from workers.background.log_retention import LogRetention, RecordRetention
from workers.config.key_policy import KeyPolicy
from workers.config.settings import RecordSettings
from workers.config.tenants import KeyVersion, TenantKey
from workers.current_config import CurrentConfig
from workers.journal.journal import WriteAheadLog
from workers.journal.retention import SealedRetention
from workers.record.retention.policy import RetentionPolicy, adopt_policy, read_policy


class Log:
    """Counts how often it is tidied; the first time the disk fails."""

    def __init__(self) -> None:
        self.kept_s: list[float] = []
        self.twice = asyncio.Event()

    async def tidy(self, keep_s: float, *, sealed: SealedRetention | None = None) -> int:
        self.kept_s.append(keep_s)
        if len(self.kept_s) == 1:
            raise OSError(errno.EIO, "Input/output error")
        self.twice.set()
        return 0


class SealedLog:
    """Notes what it is told of sealed segments."""

    def __init__(self) -> None:
        self.sealed: list[SealedRetention | None] = []
        self.tidied = asyncio.Event()

    async def tidy(self, keep_s: float, *, sealed: SealedRetention | None = None) -> int:
        self.sealed.append(sealed)
        self.tidied.set()
        return 0


async def test_with_a_record_no_segment_is_removed_before_it_is_sealed(tmp_path: Path) -> None:
    """While the sealer has said nothing, no segment counts as sealed."""
    made = configuration(state_dir=tmp_path)
    service = dataclasses.replace(made.service, record=RecordSettings(enabled=True))
    log = SealedLog()
    config = CurrentConfig(dataclasses.replace(made, service=service))
    running = asyncio.ensure_future(LogRetention(config, cast("WriteAheadLog", log)).run())
    async with asyncio.timeout(10):
        await log.tidied.wait()
    running.cancel()
    await asyncio.wait({running})
    assert log.sealed == [SealedRetention(0, 14 * 86400.0)]


async def test_a_disk_that_fails_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The failure is logged, and segments are kept for ``log.keep_days``."""
    monkeypatch.setattr(module, "TIDY_S", 0.0)
    log, config = Log(), current_config()
    running = asyncio.ensure_future(LogRetention(config, cast("WriteAheadLog", log)).run())
    async with asyncio.timeout(10):
        await log.twice.wait()
    running.cancel()
    await asyncio.wait({running})
    assert log.kept_s[:2] == [config.service.log.keep_days * 86400] * 2
    assert [record.getMessage() for record in caplog.records] == ["log.not_tidied"]


def _key(*leaves: bytes) -> TenantKey:
    """Key with a version that has these certificates, by several authorities."""
    version = KeyVersion(
        key="release",
        version=1,
        state="active",
        public_key=p256_key(1),
        tokens=("hsm",),
        expires_at_ms=None,
        certificates=(leaves[0],) if leaves else (),
        chains={str(number): (leaf,) for number, leaf in enumerate(leaves[1:])},
    )
    return TenantKey(
        name="release",
        algorithms=frozenset({Algorithm.ECDSA_SHA_256}),
        default_algorithm=Algorithm.ECDSA_SHA_256,
        profile="",
        versions=(version,),
        policy=KeyPolicy(),
    )


async def test_the_sealer_is_told_the_retention_and_the_ends_of_certificates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the start, and again when the configuration was replaced; what it was told of a certificate stays."""
    monkeypatch.setattr(module, "TELL_S", 0.0)
    issuer = ec.generate_private_key(ec.SECP256R1())
    leaf = issue(issuer, ec.generate_private_key(ec.SECP256R1()), "release")
    end_ms = int(x509.load_der_x509_certificate(leaf).not_valid_after_utc.timestamp() * 1000)
    with_certificate = tenant("acme", keys={"release": _key(leaf, leaf)})
    config = CurrentConfig(configuration([with_certificate], state_dir=tmp_path))
    told: list[RetentionPolicy] = []
    adopted = asyncio.Semaphore(0)
    loop = asyncio.get_running_loop()

    def adopt(*args: Any) -> RetentionPolicy:
        told.append(adopt_policy(*args))
        loop.call_soon_threadsafe(adopted.release)
        return told[-1]

    monkeypatch.setattr(module, "adopt_policy", adopt)
    running = asyncio.ensure_future(RecordRetention(config).run())
    for _ in range(2):
        async with asyncio.timeout(10):
            await adopted.acquire()
        config.adopt(configuration([tenant("acme", keys={"release": _key()})], state_dir=tmp_path))
    running.cancel()
    await asyncio.wait({running})
    assert told[0] == RetentionPolicy(retain_days=762.0, certificate_ends_ms={p256_key(1).sha256: end_ms})
    assert read_policy(tmp_path / "sealer") == told[0]
