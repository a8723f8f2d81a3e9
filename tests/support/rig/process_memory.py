"""Memory and open files of another process, as root reads them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

PIECE_BYTES: Final = 16 * 1024 * 1024
_MAP: Final = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) r\S+ \S+ \S+ \S+\s*(.*)$")


def memory(pid: int) -> Iterator[bytes]:
    """All that is mapped readable, in pieces."""
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as mem:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            found = _MAP.match(line)
            if found is None or found[3] in {"[vvar]", "[vsyscall]"}:
                continue
            place, end = int(found[1], 16), int(found[2], 16)
            while place < end:
                try:
                    mem.seek(place)
                    piece = mem.read(min(PIECE_BYTES, end - place))
                except (OSError, ValueError, OverflowError):
                    break  # a device, or gone meanwhile
                if not piece:
                    break
                yield piece
                place += len(piece)


def holds(pid: int, secrets: dict[str, bytes]) -> set[str]:
    """Names of the secrets that are in the memory, the environment or the arguments of the process."""
    places = [Path(f"/proc/{pid}/{name}").read_bytes() for name in ("environ", "cmdline")]
    found: set[str] = set()
    for piece in (*memory(pid), *places):
        found |= {name for name, secret in secrets.items() if secret in piece}
    return found
