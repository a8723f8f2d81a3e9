"""A primary with replicas, and Sentinels that watch it: real processes on ports of their own."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from pathlib import Path
from typing import Self

from tests.support.ports import free_port
from tests.support.redis.process import RedisFailed, RedisProcess, ask, fields_of
from tests.support.tools import redis_server
from tests.support.waiting import until

NAME = "queue"
"""Under which the Sentinels know the primary."""

PASSWORD = "nodes-password"
PAUSE_MS = 20_000
"""Longer than the Sentinels leave the old primary alone (8 s and more)."""

READY_WITHIN_S = 30.0
ANSWER_WITHIN_S = 5.0


class SentinelProcess:
    """One redis-sentinel. What it learns it writes into its own configuration file.

    ``tls``: a folder with server.pem, server.key and ca.pem; then it speaks TLS only, to the nodes too.
    """

    def __init__(
        self,
        directory: Path,
        primary_port: int,
        *,
        quorum: int,
        down_after_ms: int,
        password: str | None = PASSWORD,
        tls: Path | None = None,
    ) -> None:
        self.port = free_port()
        directory.mkdir(parents=True)
        self._file = directory / "sentinel.conf"
        self._log = directory / "sentinel.log"
        lines = [
            *(_tls_lines(self.port, tls) if tls is not None else [f"port {self.port}"]),
            "bind 127.0.0.1",
            f'dir "{directory}"',
            f'logfile "{self._log}"',
            f"sentinel monitor {NAME} 127.0.0.1 {primary_port} {quorum}",
            *([f"sentinel auth-pass {NAME} {password}"] if password is not None else []),
            f"sentinel down-after-milliseconds {NAME} {down_after_ms}",
            f"sentinel failover-timeout {NAME} 5000",
            f"sentinel parallel-syncs {NAME} 2",
        ]
        self._file.write_text("\n".join(lines) + "\n")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            [redis_server(), str(self._file), "--sentinel"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def command(self, *words: str) -> bytes:
        """The first reply line, or the bulk string."""
        with socket.create_connection(("127.0.0.1", self.port), ANSWER_WITHIN_S) as connection:
            return ask(connection, *words)

    def sees(self) -> str:
        """Sentinel's view of the primary: name, status, address, slaves, sentinels; '' while it does not answer."""
        with contextlib.suppress(OSError, RedisFailed):
            return fields_of(self.command("INFO", "sentinel")).get("master0", "")
        return ""

    def is_up(self) -> bool:
        """Whether it has taken its post."""
        return "+monitor" in self.log()

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else "(no log)"


def _tls_lines(port: int, folder: Path) -> list[str]:
    files = {"cert": "server.pem", "key": "server.key", "ca-cert": "ca.pem"}
    lines = [f'tls-{what}-file "{folder / name}"' for what, name in files.items()]
    return ["port 0", f"tls-port {port}", *lines, "tls-auth-clients no", "tls-replication yes"]


class RedisNodes:
    """Node 0 begins as the primary, the others as its replicas; ``sentinels`` watch them where there are any.

    ``down_after_ms``: how long a node is silent before a Sentinel holds it to be down.
    """

    def __init__(
        self,
        directory: Path,
        *,
        replicas: int = 2,
        sentinels: int = 0,
        down_after_ms: int = 1000,
        appendonly: bool = True,
        settings: dict[str, str] | None = None,
    ) -> None:
        own = {
            "masterauth": PASSWORD,
            "repl-diskless-sync-delay": "0",
            "appendfsync": "everysec",  # as operators have it: a killed primary is replaced by a replica
            **(settings or {}),
        }
        self.nodes = [
            RedisProcess(
                directory / f"node-{i}", password=PASSWORD, appendonly=appendonly, settings=dict(own)
            )
            for i in range(1 + replicas)
        ]
        self.sentinels: list[SentinelProcess] = []
        self._directory = directory
        self._wanted = sentinels
        self._down_after_ms = down_after_ms

    def __enter__(self) -> Self:
        first, *others = self.nodes
        first.start()
        for node in others:
            node.start()
            node.command("REPLICAOF", "127.0.0.1", str(first.port))
        until(
            lambda: all(self.linked(node) for node in others), "replicas are linked", within_s=READY_WITHIN_S
        )
        for i in range(self._wanted):
            quorum = self._wanted // 2 + 1
            self.sentinels.append(
                SentinelProcess(
                    self._directory / f"sentinel-{i}",
                    first.port,
                    quorum=quorum,
                    down_after_ms=self._down_after_ms,
                )
            )
            self.sentinels[-1].start()
        if self.sentinels:
            all_seen = (
                f"status=ok,address=127.0.0.1:{first.port},slaves={len(others)},sentinels={self._wanted}"
            )
            until(
                lambda: all(all_seen in sentinel.sees() for sentinel in self.sentinels),
                "the Sentinels know each other and all nodes",
                within_s=READY_WITHIN_S,
            )
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all of them: the Sentinels first, who would else see a failure."""
        for sentinel in self.sentinels:
            sentinel.close()
        for node in self.nodes:
            node.close()

    def linked(self, node: RedisProcess) -> bool:
        """Whether this node is a replica that has caught up with its primary's snapshot."""
        with contextlib.suppress(OSError, RedisFailed):
            return node.info("replication").get("master_link_status") == "up"
        return False

    def primary(self, *, besides: RedisProcess | None = None) -> RedisProcess | None:
        """The node that most Sentinels hold to be the primary, once it is one; None meanwhile, and while it is ``besides``,
        which is not asked: it may be silent.
        """
        seen = [sentinel.sees() for sentinel in self.sentinels]
        for node in self.nodes:
            if node is besides:
                continue
            if sum(f"address=127.0.0.1:{node.port}," in words for words in seen) * 2 <= len(seen):
                continue
            with contextlib.suppress(OSError, RedisFailed):
                if node.running and node.info("replication")["role"] == "master":
                    return node
        return None

    def followers(self, primary: RedisProcess) -> int:
        """Number of replicas that are linked to this node and ready for its writes."""
        with contextlib.suppress(OSError, RedisFailed):
            said = primary.info("replication")
            return sum("state=online" in words for name, words in said.items() if name.startswith("slave"))
        return 0

    def pause_writes(self, primary: RedisProcess) -> None:
        """Pause writes as an operator does before ``fail_over``, and wait until the replicas have all writes."""
        primary.command("CLIENT", "PAUSE", str(PAUSE_MS), "WRITE")
        written = int(primary.info("replication")["master_repl_offset"])
        replicas = [node for node in self.nodes if node is not primary]
        until(
            lambda: all(int(node.info("replication")["slave_repl_offset"]) >= written for node in replicas),
            "the replicas have it all",
        )

    def fail_over(self) -> None:
        """An operator's failover: the primary is well, and told to step down."""
        assert self.sentinels[0].command("SENTINEL", "FAILOVER", NAME) == b"+OK"

    def table(self, *more: str) -> str:
        """The lines of ``[redis]`` that lead to the primary by the Sentinels, and more lines."""
        places = ", ".join(f'"127.0.0.1:{sentinel.port}"' for sentinel in self.sentinels)
        return "\n".join([f'sentinel = {{ nodes = [{places}], primary = "{NAME}" }}', *more, ""])
