"""A build with a token file, and no key and no Redis, signs through issuer, relay, Redis, worker and lane, while these are killed."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import itertools
import os
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec
import pytest

from queueing import Signature, SigningClient
from queueing.protocol.algorithms import Algorithm
from queueing.protocol.public_keys import PublicKey
from tests.support.issuer.granted_service import GrantedService
from tests.support.sigmill_cli import start_sigmill
from tests.support.waiting import until_async

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from queueing.client.signatures import Outcome
    from queueing.protocol.key_directory import KeyEntry
    from tests.support.rig.rig import MakeRig

SLICE: Final = 64
MANY: Final = int(os.environ.get("SIGMILL_TEST_FILES", "20000"))
"""Files of the large build; `make granted-build FILES=…` sets it."""

MOST: Final = 40
"""Digests of a grant: two for each slice, so that the issuer is needed all the time."""


def files(folder: Path, count: int) -> list[Path]:
    """So many distinct files."""
    folder.mkdir()
    made = [folder / f"{i:05}.bin" for i in range(count)]
    for i, file in enumerate(made):
        file.write_bytes(b"file %d of a build\n" % i)
    return made


def digest_of(file: Path) -> bytes:
    return hashlib.sha256(file.read_bytes()).digest()


def verify(entry: KeyEntry, version: int, algorithm: str, digest: bytes, signature: bytes) -> None:
    """Verify with the key that the directory has, by no code of the client."""
    (found,) = [each for each in entry.versions if each.version == version]
    PublicKey.from_spki(found.public_key).verify(Algorithm(algorithm), digest, signature)


@dataclass(slots=True)
class Run:
    """A run of ``sign_many`` whose digests the test feeds."""

    client: SigningClient
    given: asyncio.Queue[bytes | None] = field(default_factory=asyncio.Queue)
    outcomes: list[Outcome] = field(default_factory=list)

    async def digests(self) -> AsyncIterator[bytes]:
        while (digest := await self.given.get()) is not None:
            yield digest

    async def run(self) -> None:
        stream = self.client.sign_many("release", self.digests(), request_id="run-1", timeout_s=100)
        async with contextlib.aclosing(stream) as outcomes:
            async for outcome in outcomes:
                self.outcomes.append(outcome)

    def feed(self, digests: Sequence[bytes]) -> None:
        for digest in digests:
            self.given.put_nowait(digest)


async def test_every_file_is_signed_once_whatever_is_killed(make_rig: MakeRig, tmp_path: Path) -> None:
    """Relay, the issuer's front and lane, and Redis: each is away while files come, then all of them."""
    with GrantedService(make_rig, tmp_path / "issuer", most=MOST, appendonly=True) as service:
        service.relay.start()
        file = service.client_file(service.provider.token(), by_relay=True)
        digests = [digest_of(each) for each in files(tmp_path / "files", 5 * SLICE)]
        slices = [digests[i : i + SLICE] for i in range(0, len(digests), SLICE)]
        parts = service.parts()
        steps = [*((part,) for part in parts), parts]
        async with SigningClient.from_file(file) as client:
            run = Run(client)
            working = asyncio.create_task(run.run())
            for number, (killed, part_of_digests) in enumerate(zip(steps, slices, strict=True), 1):
                for part in killed:
                    await asyncio.to_thread(part.kill)
                run.feed(part_of_digests)
                for part in killed:
                    await asyncio.to_thread(part.start)
                await until_async(
                    lambda wanted=number * SLICE: len(run.outcomes) == wanted,  # type: ignore[misc]
                    f"files are signed after {[part.name for part in killed]}",
                )
            run.given.put_nowait(None)
            await working
            assert [type(each) for each in run.outcomes] == [Signature] * len(digests)
            entry = (await client.keys())["release"]
            for digest, outcome in zip(digests, run.outcomes, strict=True):
                assert isinstance(outcome, Signature)
                verify(entry, outcome.key_version, outcome.algorithm, digest, outcome.signature)
            again = client.sign_many("release", digests, request_id="run-1", timeout_s=100)
            assert [each async for each in again] == run.outcomes
        permitted = service.permitted()
    assert permitted.digests == Counter(digests), "a digest was signed more often than once, or never"
    assert len(permitted.by_grant) >= 2 * len(slices)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kills", [False, True], ids=["quiet", "kills"])
async def test_a_large_build_signs_every_file_once(
    make_rig: MakeRig, tmp_path: Path, capsys: pytest.CaptureFixture[str], *, kills: bool
) -> None:
    """`sigmill sign` over 20,000 files; with kills, one part after the other is away for as long as it takes to start."""
    killed: Counter[str] = Counter()
    with GrantedService(make_rig, tmp_path / "issuer", most=100, appendonly=True) as service:
        service.relay.start()
        token = service.provider.token(exp=int(time.time()) + 3000)
        file = service.client_file(token, by_relay=True)
        made = files(tmp_path / "files", MANY)
        began_s = time.monotonic()
        command = await start_sigmill(
            "sign", "--config", file, "--key", "release", "--request-id", "run-1", "--out-dir", tmp_path / "out",
            *made,
        )  # fmt: skip
        ended = asyncio.create_task(command.communicate())
        for part in itertools.cycle(service.parts()) if kills else ():
            if ended.done():
                break
            await asyncio.to_thread(part.kill)
            await asyncio.to_thread(part.start)
            killed[part.name] += 1
        out, err = await ended
        took_s = time.monotonic() - began_s
        assert command.returncode == 0, err[-3000:]
        lines = [msgspec.json.decode(line) for line in out.splitlines()]
        async with SigningClient.from_file(file) as client:
            entry = (await client.keys())["release"]
        permitted = service.permitted()
    digests = [digest_of(each) for each in made]
    assert [bytes.fromhex(line["digest"].partition(":")[2]) for line in lines] == digests
    for digest, line in zip(digests, lines, strict=True):
        signature = base64.b64decode(line["signature"])
        verify(entry, line["key_version"], line["algorithm"], digest, signature)
    assert len(list((tmp_path / "out").rglob("*.sig"))) == MANY
    assert set(permitted.digests) == set(digests)
    assert set(permitted.digests.values()) == {1}, "a digest was signed more often than once"
    with capsys.disabled():
        harm = ", ".join(f"{name} {times} times" for name, times in killed.items()) or "nothing"
        print(  # noqa: T201 - the record of the run
            f"\n{MANY} files signed in {took_s:.0f} s under {len(permitted.by_grant)} grants; killed meanwhile: {harm}"
        )
