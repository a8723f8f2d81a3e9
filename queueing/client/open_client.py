"""Open client: its connections to Redis, the loops that run, and the parts that a request goes through."""

from __future__ import annotations

import contextlib
import secrets
from typing import TYPE_CHECKING

from queueing.aio.owned_tasks import OwnedTasks
from queueing.client.call_coalescing import SingleCalls
from queueing.client.delivery.reply_stream import BLOCK_S
from queueing.client.delivery.transport import Transport
from queueing.client.key_directory_cache import KeyDirectoryCache
from queueing.client.request_runner import RequestRunner
from queueing.client.result_checker import ResultChecker
from queueing.client.service_clock import ServiceClock
from queueing.client.signing_request import EnvelopeBuilder
from queueing.redis.connection import connect

if TYPE_CHECKING:
    from collections.abc import Callable

    from queueing.client.config import ClientConfig
    from queueing.client.epoch_store import EpochStore
    from queueing.protocol.client_keys import ClientKey
    from queueing.protocol.public_keys import PublicKey


class OpenClient:
    """Parts of one client while it is open; made in its event loop. ``pinned``: service keys that sign key directories."""

    def __init__(
        self,
        config: ClientConfig,
        key: ClientKey,
        *,
        pinned: tuple[PublicKey, ...],
        epochs: EpochStore,
        now_ms: Callable[[], int],
    ) -> None:
        reply_id = secrets.token_hex(16)
        self.redis = connect(config.redis)
        self._blocking = connect(config.redis, blocking_s=BLOCK_S)
        ttl_ms = int(config.envelope_ttl_s * 1000)
        self.clock = ServiceClock(self.redis, ttl_ms=ttl_ms, now_ms=now_ms)
        self.builder = EnvelopeBuilder(
            audience=config.audience,
            tenant=config.tenant,
            client=config.client,
            key=key,
            ttl_ms=ttl_ms,
            reply_id=reply_id,
            now_ms=self.clock.envelope_ms,
        )
        self.transport = Transport(
            self.redis,
            self._blocking,
            tenant=config.tenant,
            reply_id=reply_id,
            now_ms=now_ms,
            wait=config.redis.replica_wait(),
        )
        self.directory = KeyDirectoryCache(
            self.redis,
            audience=config.audience,
            tenant=config.tenant,
            pinned=pinned,
            epochs=epochs,
            refresh_s=config.directory_refresh_s,
            clock=self.clock,
        )
        checker = ResultChecker(self.directory, verify=config.verify_signatures)
        self.runner = RequestRunner(self.builder, self.transport, checker, self.clock)
        self.tasks = OwnedTasks()
        self.single_calls = SingleCalls(self.runner, self.tasks, linger_s=config.linger_ms / 1000)

    async def start(self) -> None:
        """Start the loops of sending, receiving and measuring the clock."""
        await self.tasks.open()
        for loop in self.transport.loops():
            self.tasks.start(loop)
        self.tasks.start(self.clock.run())

    async def close(self) -> None:
        """End the calls that wait, then the loops and connections; raises what a submit left behind."""
        self.single_calls.close()
        async with (
            contextlib.AsyncExitStack() as closing
        ):  # from the last to the first, whatever comes of the others
            closing.push_async_callback(self.redis.aclose)
            closing.push_async_callback(self._blocking.aclose)
            closing.push_async_callback(self.directory.close)
            closing.push_async_callback(self.transport.close)
            closing.push_async_callback(self.tasks.close)
