"""Free TCP ports on the loopback interface, of this process alone among all tests of the machine.

The kernel takes the local port of an outgoing connection from its own range (``ip_local_port_range``), and a port of it may be
gone before a server that was just started, or is started again, binds it. So ports are taken from below that range, in blocks:
a process owns a block as long as it has the abstract unix socket of that name, which also test runs in other folders and roots of
this network see.
"""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

FIRST_PORT: Final = 11_000
BLOCK_PORTS: Final = 200
_RANGE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_port() -> int:
    """Next port of this process's block that nobody listens on."""
    for port in itertools.islice(_ports(os.getpid()), BLOCK_PORTS):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(
                socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
            )  # as servers do: closed connections are no matter
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError(f"all {BLOCK_PORTS} ports of this process's block are in use")


@cache
def _ports(pid: int) -> Iterator[int]:
    """Ports of a block that this process owns from now on, round and round."""
    outgoing = max(int(_RANGE.read_text().split()[0]), 20_000)
    blocks = range(FIRST_PORT, outgoing - BLOCK_PORTS, BLOCK_PORTS)
    start = pid % len(blocks)
    for first in itertools.chain(blocks[start:], blocks[:start]):
        owned = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            owned.bind(f"\0sigmill-test-ports-{first}")
        except OSError:
            owned.close()
            continue
        owned.detach()  # the kernel closes it with this process
        return itertools.cycle(range(first, first + BLOCK_PORTS))
    raise RuntimeError(
        f"no block of ports is left below {outgoing}: {len(blocks)} processes of tests have them"
    )
