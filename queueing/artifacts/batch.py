"""Signing of many files: hashed on all cores, signed in envelopes, time-stamped and written, one outcome each.

Three stages run side by side, each a bounded number of files ahead of the next one.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Final, Protocol, cast

from queueing.artifacts.formats import PREPARATIONS, FormatName, recognised
from queueing.artifacts.preparation import Done, Order, Prepared
from queueing.artifacts.targets import Target
from queueing.artifacts.time_stamps.tokens import TimeStamp
from queueing.client.signatures import Outcome, Signature
from queueing.errors import InputUnreadable, OutputUnwritable, SigningError, TimeStampUnavailable
from queueing.files.drafts import sweep
from queueing.files.durable_file import sync_folder
from queueing.protocol.algorithms import Algorithm
from queueing.protocol.priorities import Priority

_HASHING_THREADS: Final = os.cpu_count() or 1
"""A core each."""

_WRITING_THREADS: Final = 16
"""They wait for disks: a synced file takes milliseconds, and file systems sync for all that wait at once."""

_AHEAD: Final = 256
"""Files between two stages: some envelopes."""

_NO_DIGEST: Final = cast("bytes", None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A file to sign. ``error``: it is not to be signed, and why. ``format`` None: by its content."""

    path: Path
    target: Target
    format: FormatName | None = None
    error: SigningError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FileOutcome:
    """End of one file. Signed now if there is a ``signature`` and no ``error``; with neither it was signed before."""

    artifact: Artifact
    format: FormatName | None = None
    signature: Signature | None = None
    stamp: TimeStamp | None = None
    unstamped: TimeStampUnavailable | None = None
    """The reason for which it has no time-stamp, which was optional."""

    error: SigningError | None = None


class OutcomeSink(Protocol):
    """Receiver of outcomes, in input order."""

    def add(self, outcome: FileOutcome) -> None:
        """Take the outcome of the next file."""


class ManySigner(Protocol):
    """The part of ``queueing.client.signing_client.SigningClient`` that signs many digests."""

    def sign_many(
        self,
        key: str,
        digests: AsyncIterator[bytes],
        algorithm: Algorithm,
        request_id: str | None,
        *,
        priority: Priority,
        timeout_s: float | None,
    ) -> AsyncGenerator[Outcome, None]:
        """One outcome for each digest, in order; what is no bytes is refused in its place."""


class Stamper(Protocol):
    """Source of time-stamps: ``queueing.artifacts.time_stamps.servers.TimeStampServers``."""

    async def time_stamp(self, hash_name: str, signature: bytes) -> TimeStamp:
        """A time-stamp over a signature; raises ``TimeStampUnavailable``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyUse:
    """Use of a key in this run. ``key``: KEY/VERSION, to which the certificate of the order belongs."""

    key: str
    request_id: str | None
    priority: Priority = Priority.NORMAL
    timeout_s: float | None


@dataclass(frozen=True, slots=True)
class _Ready:
    artifact: Artifact
    format: FormatName | None
    prepared: Prepared | Done | SigningError


class Batch:
    """Signs files with one key. Made in an event loop, used once."""

    def __init__(self, client: ManySigner, use: KeyUse, order: Order, stamper: Stamper | None = None) -> None:
        self._client = client
        self._stamper = stamper
        self._use = use
        self._order = order
        self._hashing = ThreadPoolExecutor(_HASHING_THREADS, thread_name_prefix="artifact-hash")
        self._writing = ThreadPoolExecutor(_WRITING_THREADS, thread_name_prefix="artifact-write")
        self._signing: deque[_Ready] = deque()
        self._finishing: asyncio.Queue[asyncio.Task[FileOutcome] | None] = asyncio.Queue(_AHEAD)

    async def run(self, artifacts: Sequence[Artifact], sink: OutcomeSink) -> None:
        """Sign the files; raises what concerns all of them, such as an unknown key, and what ``sink`` raises.

        The data of a signed file is on disk when ``sink`` gets its outcome, the names of all of them on return: a sync of a folder
        for each file would be a second commit of the file system for each. Raises ``OutputUnwritable`` where that fails.
        """
        try:
            loop = asyncio.get_running_loop()
            above = await loop.run_in_executor(self._writing, _made_ready, artifacts)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._sign(iter(artifacts), tasks))
                while (task := await self._finishing.get()) is not None:
                    sink.add(await task)
            await loop.run_in_executor(self._writing, _sync_names, artifacts, above)
        except ExceptionGroup as group:
            raise group.exceptions[0] from group
        finally:
            for pool in (self._hashing, self._writing):
                pool.shutdown(wait=False, cancel_futures=True)

    async def _sign(self, artifacts: Iterator[Artifact], tasks: asyncio.TaskGroup) -> None:
        digests = self._digests(artifacts)
        outcomes = self._client.sign_many(
            self._use.key,
            digests,
            self._order.signer.algorithm,
            self._use.request_id,
            priority=self._use.priority,
            timeout_s=self._use.timeout_s,
        )
        async with contextlib.aclosing(digests), contextlib.aclosing(outcomes):
            async for outcome in outcomes:
                ready = self._signing.popleft()
                await self._finishing.put(tasks.create_task(self._finished(ready, outcome)))
        await self._finishing.put(None)

    async def _digests(self, artifacts: Iterator[Artifact]) -> AsyncGenerator[bytes, None]:
        """Digests of the files; those that need no signature are refused by the client, in their place."""
        loop = asyncio.get_running_loop()
        ahead: deque[asyncio.Future[_Ready]] = deque()
        while True:
            for artifact in islice(artifacts, _AHEAD - len(ahead)):
                ahead.append(loop.run_in_executor(self._hashing, self._ready, artifact))
            if not ahead:
                return
            ready = await ahead.popleft()
            self._signing.append(ready)
            prepared = ready.prepared
            yield _NO_DIGEST if isinstance(prepared, Done | SigningError) else prepared.digest

    def _ready(self, artifact: Artifact) -> _Ready:
        if artifact.error is not None:
            return _Ready(artifact, artifact.format, artifact.error)
        ready = self._tried(artifact)
        if isinstance(ready.prepared, InputUnreadable):  # another run may have signed it while it was hashed
            again = self._tried(artifact)
            return again if isinstance(again.prepared, Done) else ready
        return ready

    def _tried(self, artifact: Artifact) -> _Ready:
        name = artifact.format
        try:
            name = name or recognised(artifact.path)
            prepared = PREPARATIONS[name](artifact.path, artifact.target, self._order)
        except SigningError as error:
            return _Ready(artifact, name, error)
        except MemoryError:
            return _Ready(artifact, name, InputUnreadable("the file needs more memory than there is"))
        return _Ready(artifact, name, prepared)

    async def _finished(self, ready: _Ready, outcome: Outcome) -> FileOutcome:
        prepared = ready.prepared
        if isinstance(prepared, SigningError):
            return FileOutcome(artifact=ready.artifact, format=ready.format, error=prepared)
        if isinstance(prepared, Done):
            return FileOutcome(artifact=ready.artifact, format=ready.format)
        if not isinstance(outcome, Signature):
            return FileOutcome(artifact=ready.artifact, format=ready.format, error=outcome)
        done = FileOutcome(artifact=ready.artifact, format=ready.format, signature=outcome)
        try:
            stamp = await self._stamp(outcome.signature)
        except TimeStampUnavailable as error:
            if self._order.stamped:
                return replace(done, error=error)
            done, stamp = replace(done, unstamped=error), None
        loop = asyncio.get_running_loop()
        token = None if stamp is None else stamp.token
        try:
            await loop.run_in_executor(self._writing, prepared.finish, outcome.signature, token)
        except InputUnreadable as error:
            return await self._changed(ready, replace(done, error=error))
        except SigningError as error:
            return replace(done, error=error)
        except MemoryError:
            return replace(done, error=InputUnreadable("the file needs more memory than there is"))
        return replace(done, stamp=stamp)

    async def _changed(self, ready: _Ready, failed: FileOutcome) -> FileOutcome:
        """Outcome of a file that is another one now: where another run has signed it meanwhile, it is done."""
        loop = asyncio.get_running_loop()
        now = await loop.run_in_executor(self._hashing, self._tried, ready.artifact)
        if isinstance(now.prepared, Done):
            return FileOutcome(artifact=ready.artifact, format=now.format)
        return failed

    async def _stamp(self, signature: bytes) -> TimeStamp | None:
        if self._stamper is None:
            return None
        return await self._stamper.time_stamp(self._order.signer.hash_name, signature)


_UNSYNCED: Final = (errno.EACCES, errno.EINVAL, errno.ENOENT, errno.ENOTDIR)
"""Folders that this user may not list, of a file system that syncs none, or that no file was written to."""


def _made_ready(artifacts: Sequence[Artifact]) -> set[Path]:
    """Remove the drafts of crashed runs; returns the folders that get a name for a folder that is not there yet. Raises nothing."""
    good = [artifact.target for artifact in artifacts if artifact.error is None]
    sweep([target.path for target in good])
    above: set[Path] = set()
    for target in {target.folder: target for target in good}.values():
        with contextlib.suppress(OSError, ValueError):
            above.update(target.folders_above())
    return above


def _sync_names(artifacts: Sequence[Artifact], above: Collection[Path]) -> None:
    """Make the names of these files, and those of ``above``, durable; raises ``OutputUnwritable`` when all were tried."""
    folders = set(above)
    for artifact in artifacts:
        if artifact.error is None:
            with contextlib.suppress(
                OSError, ValueError
            ):  # no file can have the name, and its outcome says so
                folders.update(artifact.target.folders())
    failed: list[tuple[Path, OSError]] = []
    for folder in sorted(folders):
        try:
            sync_folder(folder)
        except OSError as error:
            if error.errno not in _UNSYNCED:
                failed.append((folder, error))
    if failed:
        folder, first = failed[0]
        more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
        raise OutputUnwritable(
            f"files in {folder}{more} are signed, and a power cut may undo their names: {first.strerror}"
        ) from first
