"""An agent on a real socket, over a real Redis: many tools at once, and hostile connections."""

from __future__ import annotations

import asyncio
import contextlib
import random
import select
import socket
import stat
import struct
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from queueing.agent.agent import AgentSettings, RunningAgent, running_agent
from queueing.agent.cryptoki import Attribute, ObjectClass
from queueing.agent.failures import FailureLog
from queueing.agent.rpc.attributes import MAX_ATTRIBUTES
from queueing.agent.rpc.calls import Call
from queueing.agent.rpc.fields import FieldReader
from queueing.agent.rpc.frames import MAX_MESSAGE_BYTES, frame
from queueing.agent.server import MAX_CONNECTIONS
from queueing.errors import ConfigError, PolicyDenied
from queueing.files.socket_place import held_place
from queueing.protocol.algorithms import Algorithm
from queueing.protocol.public_keys import PublicKey
from tests.support.farm.farm import Farm, digests
from tests.support.keys import spki_of
from tests.support.p11_kit import INITIALIZE, P11, Failed, Socket, nested_templates, request, ulongs, wanted
from tests.support.waiting import until_async


class AgentRig:
    """An agent that listens, and the tools of a test."""

    def __init__(self, farm: Farm, path: Path, failures: FailureLog) -> None:
        self.farm, self.path, self.failures = farm, path, failures
        self._sockets: list[Socket] = []

    async def tool(self) -> P11:
        """A tool that stays until the end of the test."""
        self._sockets.append(await Socket.connect(self.path))
        return await P11(self._sockets[-1].exchange).open()

    async def close(self) -> None:
        for each in self._sockets:
            await each.close()

    async def sign(self, digest: bytes) -> None:
        """One tool from its start to its end; its signature is verified."""
        async with contextlib.AsyncExitStack() as ending:
            connected = await Socket.connect(self.path)
            ending.push_async_callback(connected.close)
            raw = await (await P11(connected.exchange).open()).ecdsa("release", digest)
        public = PublicKey.from_spki(spki_of(self.farm.responder.keys["release"].versions[1]))
        r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
        public.verify(Algorithm.ECDSA_SHA_256, digest, encode_dss_signature(r, s))


@contextlib.asynccontextmanager
async def agent(
    farm: Farm, path: Path, failures: FailureLog, deadline_s: float = 60.0
) -> AsyncIterator[RunningAgent]:
    settings = AgentSettings(socket=path, keys=None, chains={}, deadline_s=deadline_s)
    async with farm.client() as client, running_agent(client, settings, failures) as running:
        yield running


@pytest.fixture
def path() -> Iterator[Path]:
    """Of a socket: pytest's own folders are too long for one."""
    with TemporaryDirectory(prefix="sigmill-") as folder:
        yield Path(folder) / "agent.sock"


@pytest.fixture
async def rig(farm: Farm, path: Path) -> AsyncIterator[AgentRig]:
    failures = FailureLog()
    async with agent(farm, path, failures):
        made = AgentRig(farm, path, failures)
        yield made
        await made.close()


async def test_a_hundred_tools_at_once_share_envelopes(rig: AgentRig) -> None:
    """Each tool is a connection with one signature; the queue sees far fewer jobs than signatures."""
    async with asyncio.TaskGroup() as tools:
        for digest in digests(100):
            tools.create_task(rig.sign(digest))
    assert sum(rig.farm.responder.signed.values()) == 100
    assert len(rig.farm.responder.jobs) < 60
    assert rig.failures.counted() == []


async def test_only_the_user_may_connect(rig: AgentRig) -> None:
    """The socket's file mode is the access control, from the moment it is there."""
    assert stat.S_IMODE(rig.path.stat().st_mode) == 0o600


async def damage(path: Path, seed: int) -> None:
    """A connection that sends what no tool sends: cut, huge, nested, repeated, reordered frames, or none at all."""
    source = random.Random(seed)
    reader, writer = await asyncio.open_unix_connection(str(path))
    good = [INITIALIZE, request(Call.OPEN_SESSION, ulongs(1, 4)), request(Call.FIND_OBJECTS, ulongs(1))]
    with contextlib.suppress(ConnectionError):
        writer.write(source.randbytes(1))
        for _ in range(source.randrange(20)):
            message = source.choice(good)
            match source.randrange(7):
                case 0:
                    writer.write(frame(source.randrange(2**32), message))
                case 1:
                    writer.write(frame(1, message)[: source.randrange(len(message))])
                case 2:
                    writer.write(source.randbytes(source.randrange(500)))
                case 3:
                    writer.write(
                        struct.pack(">III", 1, 0, MAX_MESSAGE_BYTES + 1) + bytes(MAX_MESSAGE_BYTES + 1)
                    )
                case 4:
                    writer.write(struct.pack(">III", 1, 2**32 - 1, 2**32 - 1))
                case 5:
                    deep = nested_templates(source.randrange(600))
                    writer.write(frame(1, request(Call.FIND_OBJECTS_INIT, ulongs(1) + deep)))
                case _:
                    writer.write(frame(1, source.randbytes(source.randrange(200))))
            await writer.drain()
        if source.randrange(2):
            writer.write_eof()
            await reader.read()
    writer.close()


async def test_a_hundred_hostile_connections_stop_nobody(rig: AgentRig) -> None:
    """While they send, and afterwards, tools get their signatures."""
    async with asyncio.TaskGroup() as connections:
        for seed in range(100):
            connections.create_task(damage(rig.path, seed))
        for digest in digests(20):
            connections.create_task(rig.sign(digest))
    await rig.sign(digests(1, salt="afterwards")[0])


async def test_a_tool_that_reads_no_answers_fills_no_memory(
    rig: AgentRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It asks for many large answers at once: the agent makes as many as the socket and one buffer hold, and serves others."""
    made: list[int] = []

    def noted(code: int, message: bytes) -> bytes:
        made.append(len(message))
        return frame(code, message)

    connected = await Socket.connect(rig.path)
    tool = await P11(connected.exchange).open()
    (key,) = await tool.find({Attribute.CLASS: ObjectClass.PUBLIC_KEY.value, Attribute.LABEL: b"release"})
    large = wanted(*[(Attribute.EC_POINT.value, 100)] * MAX_ATTRIBUTES)
    asked = frame(9, request(Call.GET_ATTRIBUTE_VALUE, ulongs(tool.session, key) + large))
    monkeypatch.setattr("queueing.agent.server.frame", noted)
    connected.writer.write(asked * 60)
    for digest in digests(3):
        await rig.sign(digest)
    assert 0 < sum(made) < 32 * max(made)
    connected.writer.transport.abort()
    await connected.close()


def open_files() -> int:
    """Number of files that this process has open; the listing itself is one of them."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def test_a_tool_that_ends_without_its_answer_keeps_no_connection(
    rig: AgentRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It closes its own direction and reads nothing: such sockets would not be counted, and use up the open files."""
    before = open_files()
    one, other = socket.socketpair()
    with one, other:
        one.setblocking(False)
        longer = one.send(bytes(16 << 20)) + (
            32 << 10
        )  # than the socket has room for, by less than fills the agent's buffer
    monkeypatch.setattr("queueing.agent.server.frame", lambda _, __: bytes(longer))
    with socket.socket(socket.AF_UNIX) as tool:
        tool.connect(str(rig.path))
        tool.sendall(b"\0" + frame(1, INITIALIZE))
        tool.shutdown(socket.SHUT_WR)
        await until_async(lambda: select.select([tool], [], [], 0)[0] != [], "an answer")
        await until_async(lambda: open_files() <= before + 1, "the end of the connection")


async def test_a_huge_message_costs_its_call_alone(rig: AgentRig) -> None:
    """A tool that sends a file instead of a digest gets a return value, and signs on the same connection."""
    connected = await Socket.connect(rig.path)
    tool = await P11(connected.exchange).open()
    answer = FieldReader(await connected.exchange(request(Call.SIGN, bytes(5_000_000))))
    assert (answer.u32(), answer.array(), answer.ulong()) == (0, b"u", 0x21)
    assert len(await tool.ecdsa("release", digests(1)[0])) == 64
    await connected.close()


async def test_connections_beyond_the_cap_are_closed(rig: AgentRig) -> None:
    """When one of the open ones ends, another tool may connect."""
    open_sockets = [await Socket.connect(rig.path) for _ in range(MAX_CONNECTIONS)]
    reader, writer = await asyncio.open_unix_connection(str(rig.path))
    assert await reader.read() == b""
    writer.close()
    await open_sockets.pop().close()
    async with asyncio.timeout(30):
        while True:  # the end of the one is noticed some time before the next may come
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                await rig.sign(digests(1)[0])
                break
    for each in open_sockets:
        await each.close()


async def test_a_denial_fails_one_tool_and_is_told(rig: AgentRig) -> None:
    """The tool gets a return value, the log of failures the code and the sentence; the next signature is made."""
    tool = await rig.tool()
    rig.farm.responder.refuse_next = PolicyDenied("outside its hours")
    with pytest.raises(Failed):
        await tool.ecdsa("release", digests(1)[0])
    ((failure, count),) = rig.failures.counted()
    assert (failure.key, failure.error.reason, count) == ("release/1", "policy.denied", 1)
    assert len(await tool.ecdsa("release", digests(1)[0])) == 64


async def test_a_tool_that_ends_while_it_waits_leaves_the_others(rig: AgentRig) -> None:
    """The agent signs for the next tool."""
    await rig.farm.responder.pause()
    connected = await Socket.connect(rig.path)
    waiting = asyncio.create_task((await P11(connected.exchange).open()).ecdsa("release", digests(1)[0]))
    await rig.farm.queued()
    waiting.cancel()
    await asyncio.wait([waiting])
    await connected.close()
    rig.farm.responder.resume()
    await rig.sign(digests(2)[1])


async def test_a_digest_that_is_not_signed_in_time_fails(farm: Farm, path: Path) -> None:
    """At its deadline the agent fails the tool's call, and notes an error that may be retried."""
    failures = FailureLog()
    await farm.responder.pause()
    async with agent(farm, path, failures, deadline_s=0.5):
        with pytest.raises(Failed):
            await AgentRig(farm, path, failures).sign(digests(1)[0])
    assert [failure.error.retryable for failure, _ in failures.counted()] == [True]


async def test_a_second_agent_does_not_take_the_first_ones_socket(rig: AgentRig, farm: Farm) -> None:
    """It ends with an error, and the first one still signs."""
    with pytest.raises(ConfigError, match="listens on this socket already"):
        async with agent(farm, rig.path, FailureLog()):
            pass
    await rig.sign(digests(1)[0])


async def test_agents_that_start_at_once_leave_the_socket_to_the_first(
    farm: Farm, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one starts when the first one has bound its socket, and not begun to serve; before, it took that one for a left one."""
    leave_socket(path)
    start = asyncio.start_unix_server

    async def start_a_second_one_first(*arguments: Any, **named: Any) -> asyncio.Server:
        monkeypatch.setattr(asyncio, "start_unix_server", start)
        with pytest.raises(ConfigError, match="listens on this socket already"):
            async with agent(farm, path, FailureLog()):
                pass
        return await start(*arguments, **named)

    monkeypatch.setattr(asyncio, "start_unix_server", start_a_second_one_first)
    async with agent(farm, path, FailureLog()):
        await AgentRig(farm, path, FailureLog()).sign(digests(1)[0])


async def test_an_agent_that_replaces_a_left_socket_does_so_alone(farm: Farm, path: Path) -> None:
    """While another one does, it ends with an error, and touches nothing."""
    leave_socket(path)
    with held_place(path), pytest.raises(ConfigError, match="listens on this socket already"):
        async with agent(farm, path, FailureLog()):
            pass
    assert path.is_socket()


def leave_socket(path: Path) -> None:
    """Bind a socket and leave its file, as a killed agent does."""
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))


async def test_what_a_killed_agent_left_is_replaced(farm: Farm, path: Path) -> None:
    """A socket without a listener is replaced; any other file stays as it is."""
    async with agent(farm, path, FailureLog()):
        pass
    assert not path.exists()
    leave_socket(path)
    async with agent(farm, path, FailureLog()):
        await AgentRig(farm, path, FailureLog()).sign(digests(1)[0])
    path.write_text("a user's notes")
    with pytest.raises(ConfigError, match="agent cannot listen"):
        async with agent(farm, path, FailureLog()):
            pass
    assert path.read_text() == "a user's notes"


async def test_a_path_that_no_socket_can_have_is_a_mistake_of_configuration(
    farm: Farm, tmp_path: Path
) -> None:
    """A path of 108 bytes or more (unix(7)) is a ConfigError."""
    with pytest.raises(ConfigError, match=r"too long"):
        async with agent(farm, tmp_path / ("x" * 120), FailureLog()):
            pass
