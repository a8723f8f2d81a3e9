"""Has the service's lane certify the keys of the record's checkpoints, as the sealer requests it in files."""

from __future__ import annotations

import asyncio
import itertools
import logging
import re
from typing import TYPE_CHECKING, Final

from queueing.aio.backoff import Backoff
from queueing.errors import ProofInvalid, SigningError, TokenUnavailable
from workers.lanes.process.statements import service_note_key
from workers.lanes.protocol import FormerHead, SignStatement
from workers.record.exchange import StatementRequests

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workers.background.record.origin_check import OriginCheck
    from workers.current_config import CurrentConfig
    from workers.lanes.supervisor.registry import LaneRegistry
    from workers.lanes.supervisor.token_pool import TokenPool
    from workers.record.exchange import StatementRequest

log = logging.getLogger("sigmill.service")

INTERVAL_S: Final = 1.0

_NAME: Final = re.compile(r"[0-9a-f]{16}")
"""Name of a record (``SignStatement.origin``)."""


class StatementSigner:
    """Answers the sealer's requests one after another; after a failure it waits, up to a minute. Sealing waits for none.

    Nothing is certified that was not compared with Redis before: ``origins``.
    """

    def __init__(self, config: CurrentConfig, lanes: LaneRegistry, origins: OriginCheck) -> None:
        self._config = config
        self._lanes = lanes
        self._origins = origins
        self._requests = StatementRequests(config.service.state_dir)
        self._numbers = itertools.count(1)

    async def run(self) -> None:
        """Answer requests until cancelled."""
        backoff = Backoff(first_s=INTERVAL_S, most_s=60.0)
        while True:
            try:
                await self._answer_all()
            except (SigningError, OSError, ProofInvalid) as error:
                log.warning("record.not_certified", extra={"why": str(error)})
                await asyncio.sleep(backoff.next_s())
            else:
                backoff.reset()
                await asyncio.sleep(INTERVAL_S)

    async def _answer_all(self) -> None:
        """Answer what waits. Raises at once what would fail for each request, and the last error of single ones at the end."""
        failure: SigningError | OSError | None = None
        by_name: dict[str, list[StatementRequest]] = {}
        for request in await asyncio.to_thread(lambda: list(self._requests.waiting())):
            try:
                by_name.setdefault(self._name_of(request), []).append(request)
            except ProofInvalid as error:
                failure = error
        for name, requests in by_name.items():
            failure = await self._answer_record(name, requests) or failure
        if failure is not None:
            raise failure

    async def _answer_record(
        self, name: str, requests: Sequence[StatementRequest]
    ) -> SigningError | OSError | None:
        """Answer requests about logs of one record; returns the last error of single ones."""
        pool = self._lanes.service_lanes
        if pool is None:
            raise TokenUnavailable("the service's token has no lane")
        # Of all tenants: a log that the older copy does not have contradicts it, too.
        tenants = sorted({*self._config.tenants, *(request.tenant for request in requests)})
        uncertain = (await self._origins.compare(name, tenants)).uncertain
        failure: SigningError | OSError | None = None
        for request in requests:
            if request.tenant in uncertain:
                failure = uncertain[request.tenant]
                continue
            try:
                await self._answer(request, pool)
            except (SigningError, OSError, ProofInvalid) as error:
                if isinstance(error, SigningError) and error.retryable:
                    raise  # the token is away
                failure = error
        return failure

    async def _answer(self, request: StatementRequest, pool: TokenPool) -> None:
        head, follows = request.head, request.follows
        answer = await pool.requests.sign_statement(
            SignStatement(
                next(self._numbers),
                request.tenant,
                head.origin.rpartition("/")[2],
                request.epoch_key,
                head.size,
                head.root,
                None if follows is None else FormerHead(follows.origin, follows.size, follows.root),
            )
        )
        if answer.error is not None:
            raise answer.error.error()
        key = service_note_key(self._config.service)
        await asyncio.to_thread(self._requests.answer, request, answer.note, key)

    def _name_of(self, request: StatementRequest) -> str:
        """Name of the record. Raises ``ProofInvalid`` for a log of another service, and for a name of which a lane reads no request."""
        log_name, origin = self._config.service.log_name, request.head.origin
        name = origin.removeprefix(f"{log_name}/{request.tenant}/")
        if name == origin or not _NAME.fullmatch(name):
            raise ProofInvalid(
                f"a statement about the log {origin} is requested, which is none of {log_name} and {request.tenant}"
            )
        return name
