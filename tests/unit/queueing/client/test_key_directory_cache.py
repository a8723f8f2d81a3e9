"""The key directory of a running client: its age, its expiry, and what they make of a revoked version."""

from __future__ import annotations

import asyncio

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoPermissionError

from queueing.client import key_directory_cache
from queueing.client.key_directory_cache import RETRY_S
from queueing.errors import EnvelopeExpired, QueueUnavailable, ResultInvalid
from queueing.protocol.key_directory import KeyState
from tests.support.fakes.fake_directory import REFRESH_S, TTL_MS, DirectorySetup
from tests.support.waiting import turn


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fetch that fails is not retried: no test waits."""
    monkeypatch.setattr(key_directory_cache, "PATIENCE_S", -1.0)


@pytest.mark.parametrize("state", ["active", "verify-only"])
async def test_versions_that_may_have_signed_are_believed(state: KeyState) -> None:
    """Active and verify-only versions verify; one fetch serves all calls within the refresh time."""
    scene = DirectorySetup()
    scene.publish(state)
    for _ in range(3):
        assert (await scene.look_up()).sha256 == scene.fingerprint
        scene.pass_s(REFRESH_S / 4)
    assert scene.redis.reads == 1


@pytest.mark.parametrize("state", ["next", "retired", "revoked"])
async def test_other_versions_are_refused(state: KeyState) -> None:
    """A version that is not in use yet, is retired, or is revoked vouches for no signature."""
    scene = DirectorySetup()
    scene.publish(state)
    with pytest.raises(ResultInvalid, match="does not vouch"):
        await scene.look_up()


@pytest.mark.parametrize("state", ["retired", "revoked"])
async def test_a_revoked_version_is_refused_once_the_refresh_time_is_over(state: KeyState) -> None:
    """A key that is known is looked up in a directory no older than the refresh time."""
    scene = DirectorySetup()
    await scene.look_up()
    scene.publish(state)
    scene.pass_s(REFRESH_S - 0.001)
    assert (await scene.look_up()).sha256 == scene.fingerprint
    scene.pass_s(0.001)
    with pytest.raises(ResultInvalid):
        await scene.look_up()


async def test_a_clock_that_was_set_back_prolongs_no_trust() -> None:
    """The age of a directory from the future is unknown, so it is fetched again."""
    scene = DirectorySetup()
    await scene.look_up()
    scene.publish("revoked")
    scene.pass_s(-3600)
    with pytest.raises(ResultInvalid):
        await scene.look_up()


async def test_without_redis_the_directory_is_believed_until_it_expires_and_not_longer() -> None:
    """An outage does not stop verification at once; an expired directory is not believed."""
    scene = DirectorySetup()
    await scene.look_up()
    scene.redis.answer = RedisConnectionError("gone")
    scene.pass_s(TTL_MS / 1000 - 1)
    assert (await scene.look_up()).sha256 == scene.fingerprint
    scene.pass_s(1)
    with pytest.raises(QueueUnavailable):
        await scene.look_up()


async def test_an_expired_directory_in_redis_is_not_believed() -> None:
    """A directory that no worker has renewed is as expired in Redis as in the cache."""
    scene = DirectorySetup()
    await scene.look_up()
    scene.pass_s(30 * 86_400)
    with pytest.raises(QueueUnavailable, match="expired"):
        await scene.look_up()


async def test_a_directory_that_has_expired_by_a_clock_that_is_ahead_is_final() -> None:
    """No retry helps; the message says whose clock it is, and by how much."""
    scene = DirectorySetup()
    scene.pass_s(30 * 86_400)
    scene.ahead_ms = 30 * 86_400_000
    with pytest.raises(EnvelopeExpired, match=r"expired 23\.0 d ago by this host's clock"):
        await scene.look_up()


async def test_a_failed_refresh_is_tried_again_soon_and_not_by_each_call() -> None:
    """The refresh time is exceeded by the outage and a few seconds, not by another refresh time."""
    scene = DirectorySetup()
    await scene.look_up()
    scene.redis.answer = RedisConnectionError("gone")
    scene.pass_s(REFRESH_S)
    for _ in range(3):
        assert (await scene.look_up()).sha256 == scene.fingerprint
    assert scene.redis.reads == 2
    scene.publish("revoked")
    scene.pass_s(RETRY_S)
    with pytest.raises(ResultInvalid):
        await scene.look_up()


async def test_default_algorithms_follow_within_the_refresh_time() -> None:
    """Answers come from memory only while the directory is fresh."""
    scene = DirectorySetup()
    await scene.look_up()
    assert scene.cache.cached_entry("release") is not None
    scene.pass_s(REFRESH_S)
    assert scene.cache.cached_entry("release") is None


async def test_the_first_call_uses_what_was_fetched_when_the_client_opened() -> None:
    """One round trip, also where the call comes while the answer is under way."""
    scene = DirectorySetup()
    scene.redis.held = asyncio.Event()
    opening = asyncio.create_task(scene.cache.prefetch())
    call = asyncio.create_task(scene.look_up())
    await turn()
    scene.redis.held.set()
    await opening
    assert (await call).sha256 == scene.fingerprint
    assert (await scene.look_up()).sha256 == scene.fingerprint
    assert scene.redis.reads == 1


@pytest.mark.parametrize("answer", [None, RedisConnectionError("gone"), b"rubbish"])
async def test_what_is_wrong_when_the_client_opens_is_left_to_the_first_call(
    answer: bytes | Exception | None,
) -> None:
    """A client that needs no directory is not held up by one."""
    scene = DirectorySetup()
    published, scene.redis.answer = scene.redis.answer, answer
    await scene.cache.prefetch()
    with pytest.raises((QueueUnavailable, ResultInvalid)):
        await scene.look_up()
    scene.redis.answer = published
    assert (await scene.look_up()).sha256 == scene.fingerprint


async def test_the_clock_of_redis_comes_with_the_directory() -> None:
    """No round trip of its own when a client opens, or refreshes its directory."""
    scene = DirectorySetup()
    scene.ahead_ms = 90_000
    running = asyncio.create_task(scene.clock.run(scene.cache))
    await scene.clock.first_measured()
    await scene.look_up()
    assert (scene.clock.ahead_ms, scene.redis.reads) == (90_000, 1)
    scene.ahead_ms = -40_000
    scene.pass_s(REFRESH_S)
    await scene.look_up()
    assert (scene.clock.ahead_ms, scene.redis.reads) == (-40_000, 2)
    running.cancel()
    await asyncio.wait((running,))


async def test_a_clock_that_redis_does_not_tell_costs_no_directory() -> None:
    """A user of Redis without the right to TIME still gets its keys."""
    scene = DirectorySetup()
    scene.redis.time_refused = NoPermissionError("this user has no permissions to run the 'time' command")
    assert (await scene.look_up()).sha256 == scene.fingerprint
    assert not scene.clock.agrees


async def test_a_call_for_an_unknown_key_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """While Redis is away, that call waits for a fresh directory; the others use the cached one at once."""
    monkeypatch.setattr(key_directory_cache, "PATIENCE_S", 30.0)
    scene = DirectorySetup()
    await scene.look_up()
    scene.redis.answer = RedisConnectionError("gone")
    scene.pass_s(REFRESH_S / 2)
    waiting = asyncio.create_task(scene.cache.entry("nosuch"))
    await turn()
    assert scene.redis.reads == 2
    scene.pass_s(REFRESH_S)
    assert (await scene.look_up()).sha256 == scene.fingerprint
    assert not waiting.done()
    await scene.cache.close()
    with pytest.raises(QueueUnavailable):
        await waiting


async def test_a_directory_older_than_one_that_was_seen_is_refused() -> None:
    """A writer of Redis may put an old one back, in which a revoked version is still active."""
    scene = DirectorySetup()
    older = scene.redis.answer
    scene.publish("revoked")
    with pytest.raises(ResultInvalid, match="does not vouch"):
        await scene.look_up()
    scene.redis.answer = older
    scene.pass_s(REFRESH_S)
    with pytest.raises(ResultInvalid, match=r"is of epoch 1, already seen: 2"):
        await scene.look_up()


async def test_a_version_means_the_public_key_that_the_directory_has_of_it() -> None:
    """A result that names another key under the same version is not believed, and costs one fetch."""
    scene = DirectorySetup()
    with pytest.raises(ResultInvalid, match="does not vouch"):
        await scene.cache.public_key("release", 1, b"x" * 32)
    assert (await scene.look_up()).sha256 == scene.fingerprint
