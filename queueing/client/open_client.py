"""Open client: its access to the queue, the loops that run, and the parts that a request goes through."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from typing import TYPE_CHECKING

from queueing.aio.owned_tasks import OwnedTasks
from queueing.client.delivery.transport import Transport
from queueing.client.identity.opening import identity_of
from queueing.client.key_directory_cache import KeyDirectoryCache
from queueing.client.receipts import ReceiptCollector, ReceiptRunner
from queueing.client.request_runner import PartRunner, RequestRunner
from queueing.client.result_checker import ResultChecker
from queueing.client.service_clock import ServiceClock
from queueing.client.signing_request import EnvelopeBuilder, KeySpec, Target
from queueing.client.single_calls import SingleCalls
from queueing.errors import QueueUnavailable
from queueing.protocol.algorithms import algorithm_named
from queueing.transparency.trusted_keys import TrustedKeys

if TYPE_CHECKING:
    from collections.abc import Callable

    from queueing.client.config import ClientConfig
    from queueing.client.delivery.queue_access import QueueAccess
    from queueing.client.epoch_store import EpochStore
    from queueing.client.signatures import Signature
    from queueing.protocol.algorithms import Algorithm
    from queueing.protocol.client_keys import ClientKey
    from queueing.protocol.public_keys import PublicKey


def _access_of(config: ClientConfig, reply_id: str, now_ms: Callable[[], int]) -> QueueAccess:
    """Access to Redis, or to a relay; the relay's needs the extra ``edge`` of the distribution.

    Only the client of the one is loaded that is used: each takes as long to load as everything else of a command.
    """
    if config.url is not None:
        from queueing.client.delivery.relay_access import RelayAccess
        from queueing.client.delivery.relay_connection import RelayConnection
        from queueing.client.delivery.relay_tls import RelayTlsFiles

        files = RelayTlsFiles(
            authorities=config.ca_file, certificate=config.cert_file, private_key=config.key_file
        )
        return RelayAccess(RelayConnection(config.url, files), tenant=config.tenant)
    from queueing.client.delivery.redis_access import RedisAccess

    return RedisAccess.connected(
        config.redis_settings(), tenant=config.tenant, reply_id=reply_id, now_ms=now_ms
    )


class OpenClient:
    """Parts of one client while it is open; made in its event loop. ``pinned``: service keys that sign key directories."""

    def __init__(
        self,
        config: ClientConfig,
        key: ClientKey | None,
        *,
        pinned: tuple[PublicKey, ...],
        epochs: EpochStore,
        now_ms: Callable[[], int],
    ) -> None:
        reply_id = secrets.token_hex(16)
        self.access = _access_of(config, reply_id, now_ms)
        ttl_ms = int(config.envelope_ttl_s * 1000)
        self.clock = ServiceClock(self.access, ttl_ms=ttl_ms, now_ms=now_ms)
        self.builder = EnvelopeBuilder(
            audience=config.audience,
            tenant=config.tenant,
            identity=identity_of(config, key, self.clock.envelope_ms),
            ttl_ms=ttl_ms,
            reply_id=reply_id,
            now_ms=self.clock.envelope_ms,
        )
        self.transport = Transport(self.access)
        self.directory = KeyDirectoryCache(
            self.access,
            audience=config.audience,
            tenant=config.tenant,
            pinned=pinned,
            epochs=epochs,
            refresh_s=config.directory_refresh_s,
            clock=self.clock,
        )
        checker = ResultChecker(self.directory, verify=config.verify_signatures)
        self.runner = RequestRunner(self.builder, self.transport, checker, self.clock)
        self._receipts = ReceiptCollector(
            self.access,
            tenant=config.tenant,
            trusted=TrustedKeys(service=[each.spki for each in pinned], audience=config.audience),
            timeout_s=config.receipt_timeout_s,
        )
        self.part_runner = PartRunner(self.runner, self.builder)
        self.receipt_runner = PartRunner(ReceiptRunner(self.runner, self._receipts), self.builder)
        self.tasks = OwnedTasks()
        self.single_calls = SingleCalls(
            self.runner, self.tasks, linger_s=config.linger_ms / 1000, receipts=self._receipts
        )

    async def start(self) -> None:
        """Start the loops of sending, receiving and measuring the clock."""
        await self.tasks.open()
        for loop in self.transport.loops():
            self.tasks.start(loop)
        self.tasks.start(self.clock.run(self.directory))
        self.tasks.start(self.builder.identity.run())
        self.tasks.start(self._receipts.run())

    def check_open(self) -> None:
        """Raise ``QueueUnavailable`` once the client is closed."""
        if self.tasks.closed:
            raise QueueUnavailable("the client is closed")

    async def target(self, key: str, algorithm: Algorithm | str | None, deadline_s: float | None) -> Target:
        """Key, version and algorithm of a call; the directory is asked where the algorithm is the key's default.

        Raises ``KeyUnknown``, ``AlgorithmUnknown``, ``QueueUnavailable``, or as the directory fails.
        """
        await self.clock.first_measured(deadline_s)
        self.check_open()  # it may have been closed meanwhile
        spec = KeySpec.parse(key)
        if algorithm is not None:
            return Target(spec.key, spec.key_version, algorithm_named(algorithm))
        entry = self.directory.cached_entry(spec.key)
        if entry is None:
            try:
                async with asyncio.timeout_at(deadline_s):
                    entry = await self.directory.entry(spec.key)
            except TimeoutError:
                raise QueueUnavailable("the deadline passed before the key directory came") from None
            self.check_open()  # it may have been closed meanwhile
        return Target(spec.key, spec.key_version, entry.default_algorithm)

    async def verify(self, signature: Signature, digest: bytes) -> None:
        """Check a signature against the directory; raises ``ResultInvalid``, ``QueueUnavailable``."""
        self.check_open()
        await self.clock.first_measured()
        key = await self.directory.public_key(
            signature.key, signature.key_version, signature.public_key_sha256
        )
        key.verify(signature.algorithm, digest, signature.signature)

    async def close(self) -> None:
        """End the calls that wait, then the loops and connections; raises what a submit left behind."""
        self.single_calls.close()
        async with (
            contextlib.AsyncExitStack() as closing
        ):  # from the last to the first, whatever comes of the others
            closing.push_async_callback(self.access.aclose)
            closing.push_async_callback(self.directory.close)
            closing.push_async_callback(self.transport.close)
            closing.push_async_callback(self.tasks.close)
