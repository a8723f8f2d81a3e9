"""Builds that have digests signed by real clients, and write down what they were promised and what they got."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from random import Random

import msgspec

from queueing import SigningClient
from queueing.client.signatures import Outcome, Signature
from queueing.client.signing_request import SigningRequest
from queueing.errors import QueueUnavailable, SigningError, WaitTimeout
from queueing.protocol.priorities import Priority
from tests.faults.harness.tokens import TENANTS
from tests.faults.history import Answered, Invoked, Recorder, Submitted

KEY = "release"
SIZES = {"acme": (1, 1, 2, 5, 16, 40), "globex": (1, 3, 8, 30, 64), "initech": (1, 1, 2, 4, 8)}
"""Digests of a job: RSA takes some milliseconds each."""

SUBMIT_TIMEOUT_S = 30.0
ANSWER_TIMEOUT_S = 45.0
"""Far above any bound: who waits longer has lost the job."""

BUILDS_PER_TENANT = 3
LONGEST_PAUSE_S = 0.08


@dataclass(slots=True)
class Client:
    """A client that is observed."""

    name: str
    tenant: str
    signing: SigningClient
    recorder: Recorder

    async def submit(
        self, digests: Sequence[bytes], request: str, *, in_place_of: Sequence[bytes] | None = None
    ) -> tuple[str, str]:
        """Submit one envelope; the job id, and how it went. ``in_place_of``: under the id of a job with these digests."""
        target = await self.signing._target(KEY, None, None)
        draft = SigningRequest.of(target, in_place_of or digests, request, Priority.NORMAL)
        draft = msgspec.structs.replace(draft, digests=tuple(digests))
        job = self.signing._open.builder.job_id(draft)
        self.recorder.note(
            Invoked(
                at=time.time(),
                client=self.name,
                tenant=self.tenant,
                job=job,
                algorithm=str(target.algorithm),
                digests=draft.digests,
            )
        )
        how, code = "info", ""
        deadline_s = asyncio.get_running_loop().time() + SUBMIT_TIMEOUT_S
        try:
            # As SigningClient.submit does, which makes the id of these very digests.
            sealed = await self.signing._open.builder.seal(draft, deadline_s)
            await self.signing._open.transport.accept([sealed], deadline_s)
            how = "ok"
        except QueueUnavailable as error:
            code = error.reason
        except SigningError as error:
            how, code = "fail", error.reason
        finally:
            self.recorder.note(
                Submitted(
                    at=time.time(),
                    client=self.name,
                    tenant=self.tenant,
                    job=job,
                    how=how,  # type: ignore[arg-type]  # one of the three
                    code=code,
                )
            )
        return job, how

    async def result(self, job: str, timeout_s: float) -> Answered:
        """Wait for the job by its bare id, so that nothing is submitted again where it was lost."""
        try:
            outcomes = await self.signing.wait(job, timeout_s=timeout_s)
        except (WaitTimeout, QueueUnavailable) as error:
            answer = self._answered(job, "info", error.reason)
        except SigningError as error:
            answer = self._answered(job, "fail", error.reason)
        except asyncio.CancelledError:
            self.recorder.note(self._answered(job, "info", "cancelled"))
            raise
        else:
            answer = self._answered(job, "ok", "", outcomes)
        self.recorder.note(answer)
        return answer

    def _answered(self, job: str, how: str, code: str, outcomes: Sequence[Outcome] = ()) -> Answered:
        return Answered(
            at=time.time(),
            client=self.name,
            tenant=self.tenant,
            job=job,
            how=how,  # type: ignore[arg-type]  # one of the three
            signatures=tuple(o.signature if isinstance(o, Signature) else b"" for o in outcomes),
            codes={i: o.reason for i, o in enumerate(outcomes) if isinstance(o, SigningError)},
            code=code,
        )


@dataclass(slots=True)
class Builds:
    """Builds of all tenants, in a closed loop each. ``open`` are the jobs that wait for their answer, by id; ``newest`` is when
    the newest job of a tenant that was signed was first submitted.

    ``pause_s``: the longest that a build waits before its next job; ``patience_s``: for an answer.
    """

    rng: Random
    recorder: Recorder
    clients: dict[str, list[Client]]
    open: dict[str, float] = field(default_factory=dict)
    jobs: dict[str, str] = field(default_factory=dict)
    newest: dict[str, float] = field(default_factory=dict)
    running: bool = True
    patience_s: float = ANSWER_TIMEOUT_S
    pause_s: float = LONGEST_PAUSE_S
    _requests: int = 0
    _begun: dict[str, float] = field(default_factory=dict)

    @classmethod
    @contextlib.asynccontextmanager
    async def of(
        cls,
        make: dict[str, list[SigningClient]],
        recorder: Recorder,
        rng: Random,
        patience_s: float = ANSWER_TIMEOUT_S,
    ) -> AsyncIterator[Builds]:
        """Open the clients."""
        async with contextlib.AsyncExitStack() as stack:
            clients = {
                tenant: [
                    Client(f"{tenant}-{i}", tenant, await stack.enter_async_context(signing), recorder)
                    for i, signing in enumerate(signings, start=1)
                ]
                for tenant, signings in make.items()
            }
            yield cls(rng, recorder, clients, patience_s=patience_s)

    @contextlib.asynccontextmanager
    async def builds(self) -> AsyncIterator[None]:
        """Run the builds; when the block ends, each finishes its job."""
        self.running = True
        async with asyncio.TaskGroup() as tasks:
            for tenant in TENANTS:
                for _ in range(BUILDS_PER_TENANT):
                    tasks.create_task(self._build(tenant, Random(self.rng.random())))
            try:
                yield
            finally:
                self.running = False

    def request_id(self) -> str:
        """One that nobody has used."""
        self._requests += 1
        return f"request-{self._requests}"

    def digests(self, tenant: str, rng: Random) -> list[bytes]:
        """New digests, as many as a job of this tenant has."""
        return [rng.randbytes(32) for _ in range(rng.choice(SIZES[tenant]))]

    async def _build(self, tenant: str, rng: Random) -> None:
        while self.running:
            ways = (self.plain, self.plain, self.plain, self.cancelled, self.twice)
            await rng.choice(ways)(tenant, self.digests(tenant, rng), rng)
            await asyncio.sleep(rng.uniform(0, self.pause_s))

    async def plain(self, tenant: str, digests: list[bytes], rng: Random) -> None:
        """Submit until it is accepted, and wait."""
        client = rng.choice(self.clients[tenant])
        if (job := await self.accepted(client, digests, self.request_id())) is not None:
            await self.answered(client, job)

    async def cancelled(self, tenant: str, digests: list[bytes], rng: Random) -> None:
        """The wait is cancelled at any moment, and another client waits again."""
        first, second = rng.sample(self.clients[tenant], 2)
        if (job := await self.accepted(first, digests, self.request_id())) is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(rng.uniform(0, 0.03)):
                await first.result(job, self.patience_s)
        await self.answered(second, job)

    async def twice(self, tenant: str, digests: list[bytes], rng: Random) -> None:
        """Two clients submit the same request at once, and both wait."""
        request = self.request_id()
        accepted = await asyncio.gather(
            *(self.accepted(client, digests, request) for client in self.clients[tenant])
        )
        waits = zip(self.clients[tenant], accepted, strict=True)
        await asyncio.gather(*(self.answered(client, job) for client, job in waits if job is not None))

    async def accepted(self, client: Client, digests: Sequence[bytes], request: str) -> str | None:
        """Submit again, under the same id, while it is not known how it went; None where it was refused."""
        while True:
            now = time.time()
            job, how = await client.submit(digests, request)
            self.jobs[job] = client.tenant
            self._begun.setdefault(job, now)
            if how == "ok":
                self.open.setdefault(job, time.time())
                return job
            if how == "fail":
                return None

    async def answered(self, client: Client, job: str) -> None:
        """Wait for the result; who gets none in time leaves the job open."""
        answer = await client.result(job, self.patience_s)
        if answer.how != "info":
            self.open.pop(job, None)
        if answer.how == "ok":
            self.newest[client.tenant] = max(self.newest.get(client.tenant, 0.0), self._begun[job])

    async def settled(self, before: float, within_s: float) -> bool:
        """Wait until every job that was accepted before that moment has its answer."""
        deadline = time.monotonic() + within_s
        while any(at <= before for at in self.open.values()):
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.02)
        return True
