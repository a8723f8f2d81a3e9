"""Redis as three nodes that three Sentinels watch, on ports of the loopback interface: to be failed over."""

from __future__ import annotations

import json
import re
import secrets
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from queueing.config.accept_level import AcceptLevel
from queueing.config.redis import RedisConfig, SentinelConfig
from workers.dev.child_process import Child
from workers.dev.private_files import write_private
from workers.dev.redis_server import RedisDidNotStart
from workers.dev.worker_process import free_ports

NODES: Final = 3
SENTINELS: Final = 3
NAME: Final = "queue"
DOWN_AFTER_MS: Final = 1000
"""Silence after which a Sentinel holds a node to be down. Production takes 5 s and more; here the day is short."""

_READY_S: Final = 60.0
_STOP_S: Final = 5.0
_ANSWER_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Watched:
    """Choice of three nodes that Sentinels watch, in place of one server."""


class RedisNodes:
    """A primary, two replicas and their Sentinels; ready when the constructor returns.

    Writes count when one replica has them (``accept = "replicated"``): a failover then loses no job that was accepted. ``socket``
    belongs to the first node, and no one connects to it.
    """

    def __init__(self, directory: Path, logs: Path) -> None:
        directory.mkdir(mode=0o700)
        self.socket = directory / "unused.sock"
        self.password_file = directory / "password"
        self._directory = directory
        self._logs = logs
        self._password = secrets.token_urlsafe(24)
        write_private(self.password_file, f"{self._password}\n")
        self._ports = free_ports(NODES + SENTINELS)
        self._nodes: dict[int, Child] = {}
        self._sentinels: list[Child] = []
        try:
            for port in self._node_ports:
                self._write_node(port)
                self._start_node(port)
            self._start_sentinels()
        except BaseException:
            self.stop()
            raise

    @property
    def pids(self) -> list[int]:
        """Processes that run: nodes and Sentinels."""
        children = [*self._nodes.values(), *self._sentinels]
        return [child.pid for child in children if child.exit_code is None]

    def config(self) -> RedisConfig:
        """Place of the primary, as the Sentinels know it."""
        return RedisConfig(
            sentinel=SentinelConfig(nodes=self._places, primary=NAME),
            password_file=str(self.password_file),
            accept=AcceptLevel.REPLICATED,
        )

    def placed(self, text: str) -> str:
        """A configuration file for a unix socket, with the Sentinels in its place; raises ``ValueError`` where there is none."""
        line = f"unix_socket = {json.dumps(str(self.socket))}\n"
        if text.count(line) != 1:
            raise ValueError("the configuration file does not name the unix socket once")
        table = f'sentinel = {{ nodes = {json.dumps(self._places)}, primary = "{NAME}" }}\n'
        return text.replace(line, f'{table}accept = "replicated"\n')

    def kill_primary(self) -> None:
        """Kill the first node, which is the primary until then."""
        self._nodes[self._node_ports[0]].kill()

    def awaited_promotion(self) -> str:
        """Sentinels that do not name another primary than the first node yet, with what they name; '' once all name the same one."""
        question = f"SENTINEL get-master-addr-by-name {NAME}\r\n".encode()
        said = {port: named_port(_said(port, question)) for port in self._ports[NODES:]}
        return not_promoted(said, self._node_ports[0])

    def start_again(self) -> None:
        """Start the first node again: the Sentinels make it a replica. It begins empty, and must not be primary any more."""
        self._start_node(self._node_ports[0])

    def stop(self) -> None:
        """Stop all; the data are lost."""
        for child in [*self._sentinels, *self._nodes.values()]:
            child.terminate()
        for child in [*self._sentinels, *self._nodes.values()]:
            child.stop(_STOP_S)

    @property
    def _node_ports(self) -> Sequence[int]:
        return self._ports[:NODES]

    @property
    def _places(self) -> tuple[str, ...]:
        return tuple(f"127.0.0.1:{port}" for port in self._ports[NODES:])

    def _write_node(self, port: int) -> None:
        folder = self._directory / f"node-{port}"
        folder.mkdir()
        settings = {
            "port": str(port),
            "bind": "127.0.0.1",
            "dir": str(folder),
            "save": "",
            "appendonly": "no",
            "maxmemory": "1gb",
            "maxmemory-policy": "noeviction",
            "requirepass": self._password,
            "masterauth": self._password,
            "repl-diskless-sync-delay": "0",
        }
        lines = [f'{name} "{value}"' for name, value in settings.items()]
        if port != self._node_ports[0]:
            lines.append(f"replicaof 127.0.0.1 {self._node_ports[0]}")
        write_private(folder / "redis.conf", "\n".join(lines) + "\n")

    def _start_node(self, port: int) -> None:
        file = self._directory / f"node-{port}" / "redis.conf"
        child = Child(f"redis-{port}", ["redis-server", str(file)], self._logs / f"redis-{port}.log")
        self._nodes[port] = child
        _wait_for(port, b"PING\r\n", b"NOAUTH", child)

    def _start_sentinels(self) -> None:
        quorum = SENTINELS // 2 + 1
        for port in self._ports[NODES:]:
            file = self._directory / f"sentinel-{port}.conf"
            text = f"""\
port {port}
bind 127.0.0.1
dir "{self._directory}"
sentinel monitor {NAME} 127.0.0.1 {self._node_ports[0]} {quorum}
sentinel auth-pass {NAME} {self._password}
sentinel down-after-milliseconds {NAME} {DOWN_AFTER_MS}
sentinel failover-timeout {NAME} 5000
sentinel parallel-syncs {NAME} 2
"""
            write_private(file, text)
            command = ["redis-server", str(file), "--sentinel"]
            self._sentinels.append(Child(f"sentinel-{port}", command, self._logs / f"sentinel-{port}.log"))
        seen = f"status=ok,address=127.0.0.1:{self._node_ports[0]},slaves={NODES - 1},sentinels={SENTINELS}"
        for port, child in zip(self._ports[NODES:], self._sentinels, strict=True):
            _wait_for(port, b"INFO sentinel\r\n", seen.encode(), child)


def named_port(answer: bytes) -> int | None:
    """Port in a Sentinel's answer to the question for the primary's address; None for another answer, or a part of one."""
    found = re.fullmatch(rb"\*2\r\n\$\d+\r\n[^\r\n]+\r\n\$\d+\r\n(\d{1,5})\r\n", answer)
    return None if found is None else int(found[1])


def not_promoted(said: Mapping[int, int | None], killed_port: int) -> str:
    """Reason for which no other node is primary yet, by what each Sentinel says, by its port; '' once all name the same other one."""
    if len(set(said.values())) == 1 and not {None, killed_port} & set(said.values()):
        return ""
    names = (
        f"{port} {'does not answer' if named is None else f'names {named}'}" for port, named in said.items()
    )
    return f"all Sentinels name another primary than {killed_port}: {', '.join(names)}"


def _wait_for(port: int, question: bytes, answer: bytes, child: Child) -> None:
    """Wait until the answer has these bytes; raises ``RedisDidNotStart``."""
    deadline = time.monotonic() + _READY_S
    while answer not in _said(port, question):
        if child.exit_code is not None or time.monotonic() > deadline:
            raise RedisDidNotStart(f"{child.name} does not answer {answer.decode()}:\n{child.log_tail()}")
        time.sleep(0.05)


def _said(port: int, question: bytes) -> bytes:
    """First bytes of the answer; none while it does not answer."""
    try:
        with socket.create_connection(("127.0.0.1", port), _ANSWER_S) as connection:
            connection.sendall(question)
            return connection.recv(65536)
    except OSError:
        return b""
