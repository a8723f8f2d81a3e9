"""Epochs of published key directories: what counts as a newer file of another host, and what is told of it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import cast

import pytest
from redis.asyncio import Redis

from queueing.errors import QueueUnavailable
from queueing.protocol.key_directory import LARGEST_EPOCH
from tests.support.directories.signed_directories import SERVICE, STRANGER, directory, with_epoch
from workers import published_epochs as module
from workers.config.service_file import ServiceConfiguration
from workers.current_config import CurrentConfig
from workers.published_epochs import PublishedEpochs


class Directories(dict[str, bytes]):
    """The directories in Redis."""

    away = False

    async def published(self, _: Redis, tenants: Sequence[str]) -> dict[str, bytes]:
        if self.away:
            raise QueueUnavailable
        return {name: self[name] for name in tenants if name in self}


@pytest.fixture
def config() -> CurrentConfig:
    return CurrentConfig(with_epoch(1))


@pytest.fixture
def directories(monkeypatch: pytest.MonkeyPatch) -> Directories:
    made = Directories()
    monkeypatch.setattr(module, "published_directories", made.published)
    return made


@pytest.fixture
def epochs(config: CurrentConfig, directories: Directories) -> PublishedEpochs:
    del directories
    return PublishedEpochs(cast("Redis", None), config)


async def test_a_newer_directory_shows_that_the_file_here_is_older(
    epochs: PublishedEpochs, directories: Directories
) -> None:
    """Of this tenant alone; one of the same epoch shows nothing."""
    directories |= {"acme": directory(2), "globex": directory(1, of="globex")}
    assert await epochs.newer(["acme", "globex"]) == {"acme": 2}
    assert epochs.behind == 1
    assert await epochs.published(["acme", "globex"]) == {"acme": 2, "globex": 1}


HOSTILE = {
    "of a stranger": directory(9, signer=STRANGER),
    "of a stranger who names the service key": directory(LARGEST_EPOCH, signer=STRANGER, named=SERVICE),
    "of another cluster": directory(9, audience="other"),
    "of another tenant": directory(9, of="globex"),
    "expired": directory(9, lives_ms=-1),
    "cut off": directory(9)[:-1],
    "padded": directory(9) + b"\0",
    "nested": b"\x93" * 100_000,
    "not msgpack": b"\xff\xfe",
    "empty": b"",
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_what_the_service_key_has_not_signed_for_the_tenant_shows_nothing(
    epochs: PublishedEpochs, directories: Directories, name: str
) -> None:
    """Whoever writes to Redis could have jobs returned else; the worker reads on."""
    directories["acme"] = HOSTILE[name]
    assert await epochs.newer(["acme"]) == {}
    assert await epochs.published(["acme"]) == {}
    assert epochs.behind == 0


async def test_a_newer_epoch_that_was_seen_is_not_forgotten(
    epochs: PublishedEpochs, directories: Directories
) -> None:
    """An older directory in its place, or none, is withholding: the newer file is in force elsewhere."""
    directories["acme"] = directory(3)
    await epochs.newer(["acme"])
    directories["acme"] = directory(1)
    assert await epochs.newer(["acme"]) == {"acme": 3}
    assert await epochs.published(["acme"]) == {"acme": 1}
    del directories["acme"]
    assert await epochs.newer(["acme"]) == {"acme": 3}


async def test_with_the_file_of_the_epoch_the_worker_is_behind_no_more(
    epochs: PublishedEpochs, directories: Directories, config: CurrentConfig
) -> None:
    """Also with a newer one, whose directory is not published yet."""
    directories["acme"] = directory(2)
    await epochs.newer(["acme"])
    config.adopt(with_epoch(2))
    assert await epochs.newer(["acme"]) == {}
    assert epochs.behind == 0
    config.adopt(with_epoch(3))
    assert await epochs.newer(["acme"]) == {}


async def test_a_tenant_that_is_not_configured_here_is_not_behind(
    epochs: PublishedEpochs, directories: Directories
) -> None:
    """There is no file to compare with."""
    directories["initech"] = directory(5, of="initech")
    assert await epochs.newer(["initech"]) == {}
    assert epochs.behind == 0


async def test_each_newer_epoch_is_told_once(
    epochs: PublishedEpochs, directories: Directories, caplog: pytest.LogCaptureFixture
) -> None:
    """With both epochs."""
    with caplog.at_level(logging.WARNING, "sigmill.config"):
        for epoch in (2, 2, 1, 4, 4):
            directories["acme"] = directory(epoch)
            await epochs.newer(["acme"])
    told = [
        (record.msg, *(vars(record)[name] for name in ("tenant", "epoch", "published")))
        for record in caplog.records
    ]
    assert told == [("config.behind", "acme", 1, 2), ("config.behind", "acme", 1, 4)]


async def test_the_same_directory_is_verified_once(
    epochs: PublishedEpochs, directories: Directories, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A storm of refused jobs costs no signature verification each."""
    calls: list[bytes] = []
    verify = module.epoch_of

    def counted(signed: bytes, service: ServiceConfiguration, tenant: str) -> int | None:
        calls.append(signed)
        return verify(signed, service, tenant)

    monkeypatch.setattr(module, "epoch_of", counted)
    for signed in (directory(2), directory(3, signer=STRANGER)):
        directories["acme"] = signed
        for _ in range(3):
            await epochs.newer(["acme"])
    assert len(calls) == 2


async def test_a_failure_of_redis_reaches_the_caller(
    epochs: PublishedEpochs, directories: Directories
) -> None:
    """Who asked decides what it means."""
    directories.away = True
    with pytest.raises(QueueUnavailable):
        await epochs.newer(["acme"])
